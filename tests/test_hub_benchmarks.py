"""A benchmark on the Hub, read by the real clients over real HTTP: what is judged, recorded, said and sent.

Each `runs` is a process of its own: the clients read their settings when they are imported.
"""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hub_server import Repo, hub_stand_in

from distill.hub import HubError, benchmark
from distill.store import KEY

pytest.importorskip("datasets")

OLD = "A farmer has seventeen sheep and all but nine of them run away; how many sheep are left on the farm"
NEW = "Three painters need five hours for a fence of forty metres; how long do seven painters need for it"
OTHER = "The sum of two consecutive odd numbers is three hundred and sixty; which one is the larger of them?"
CARD = b"""---
configs:
- config_name: easy
  data_files: [{split: test, path: easy/*.jsonl}]
- config_name: hard
  data_files: [{split: test, path: hard/*.jsonl}]
---
"""
WRONG = {
    "org/nothing": "the Hub does not give 'org/nothing' at main: there is no such dataset, or it is private; check",
    "org/texts:hard:test@v9": "'org/texts' at v9: it has no such revision; name a branch, a tag or a commit",
    "org/texts:harder": "'harder' not found. Available: ['easy', 'hard']",
    "org/texts": "Please pick one among the available configs: ['easy', 'hard']",
    "org/texts:hard:tset": "Unknown split \"tset\". Should be one of ['test']",
    "org/gated": "is a gated dataset on the Hub. You must be authenticated to access it. Log in with",
}
"""Benchmarks that cannot be had, and what is said of them."""
ROWS = "path: rows.jsonl"
FIRST_ON_HUB = (
    "dataset: org/texts, config: hard, split: test, limit: 1, columns: {problem: question, response: question}"
)
CANARY = "hf_canary"
DISTILL = """
import contextlib, io, json, sys
from distill.cli import app
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            app(arguments)
        except SystemExit as end:
            code = end.code or 0
    sys.stdout.write(json.dumps([code, said.getvalue()]) + "\\n")
"""


def jsonl(*problems):
    return "".join(json.dumps({"question": problem}) + "\n" for problem in problems).encode()


def parquet(*problems):
    file = io.BytesIO()
    pl.DataFrame({"problem": problems}).write_parquet(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def hub():
    with hub_stand_in() as hub:
        texts = hub.repos["org/texts"] = Repo()
        texts.add({"README.md": CARD, "easy/test.jsonl": jsonl("2 + 2"), "hard/test.jsonl": jsonl(OLD)}, tag="v1")
        texts.add({"README.md": CARD, "easy/test.jsonl": jsonl("2 + 2"), "hard/test.jsonl": jsonl("3 - 1", NEW)})
        hub.repos["org/tables"] = Repo()
        hub.repos["org/tables"].add({"README.md": b"", "data/test-00000-of-00001.parquet": parquet(NEW)})
        hub.repos["org/gated"] = Repo(gated=True)
        hub.repos["org/gated"].add({"README.md": CARD, "easy/test.jsonl": jsonl(NEW), "hard/test.jsonl": jsonl(OLD)})
        yield hub


FOLD = "\n    "
"""Where the command line goes on with one message on the next line."""


@dataclass
class Outcome:
    """What came of one `distill run`."""

    code: int
    said: str
    run: Path

    def evidence(self):
        """Of the rows in order; None where one is kept."""
        verdicts = pl.read_parquet(self.run / "verdicts" / "verdicts.parquet").sort(KEY)
        return verdicts["verdict_decontaminate"].struct.field("evidence").to_list()

    def commits(self):
        """As the run records them, in both places."""
        (facts,) = json.loads((self.run / "verdicts" / "filters.json").read_text())
        (manifest,) = self.run.glob("manifests/verdicts.json")
        assert json.loads(manifest.read_text())["facts"]["filters"] == [facts]
        return facts["commits"]


@pytest.fixture(scope="module")
def runs(hub, tmp_path_factory):
    """Judge rows against each benchmark, a run each in one process; all processes have the same cache."""
    home = tmp_path_factory.mktemp("home")
    rows = [{"problem": p, "problem_id": str(n), "response": "42"} for n, p in enumerate((OLD, NEW, OTHER))]

    def runs(*benchmarks, rows_from=ROWS, **env):
        folder = tmp_path_factory.mktemp("runs")
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        commands = []
        for number, name in enumerate(benchmarks):
            recipe = f"trajectories: {{import: {{{rows_from}}}}}\nverdicts: [decontaminate: {{benchmarks: ['{name}']}}]"
            (folder / f"{number}.yaml").write_text(recipe)
            commands.append(["run", f"{number}.yaml", "--runs", "runs"])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        child = subprocess.run(
            [sys.executable, "-c", DISTILL, json.dumps(commands)],
            env={**kept, **ours, "PYTHONPATH": str(Path.cwd()), **env},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert CANARY not in child.stdout + child.stderr
        said = [json.loads(line) for line in child.stdout.splitlines()]
        return [Outcome(code, text.replace(FOLD, " "), folder / "runs" / str(n)) for n, (code, text) in enumerate(said)]

    return runs


@pytest.fixture(scope="module")
def strangers(hub, runs):
    """What comes of every benchmark without a token, and what was sent for it."""
    names = ["org/texts:hard:test@v1", "org/texts:hard", "org/tables", *WRONG]
    before = len(hub.seen)
    return dict(zip(names, runs(*names), strict=True)), hub.seen[before:]


@pytest.mark.parametrize(
    ("benchmark", "evidence"),
    [
        ("org/texts:hard:test@v1", [f"org/texts:0: {OLD}", None, None]),
        ("org/texts:hard", [None, f"org/texts:1: {NEW}", None]),
        ("org/tables", [None, f"org/tables:0: {NEW}", None]),
    ],
)
def test_each_revision_gives_its_verdicts_and_its_commit(hub, strangers, benchmark, evidence):
    outcome = strangers[0][benchmark]
    assert (outcome.code, outcome.evidence()) == (0, evidence), outcome.said
    name, _, rest = benchmark.partition(":")
    assert outcome.commits() == {benchmark: hub.repos[name].commit(rest.partition("@")[2] or "main")}


@pytest.mark.parametrize(("benchmark", "told"), WRONG.items())
def test_what_the_hub_does_not_give_is_one_clear_line_before_anything_runs(strangers, benchmark, told):
    outcome = strangers[0][benchmark]
    assert outcome.code == 1
    assert outcome.said.startswith("HubError: decontaminate.benchmarks: ")
    assert told in outcome.said
    assert outcome.said.count("\n") == 1
    assert not outcome.run.exists()


def test_nothing_is_sent_but_reads_and_no_token_where_there_is_none(strangers):
    _, seen = strangers
    assert {request.host for request in seen} == {"hub", "storage"}
    assert {request.method for request in seen} == {"GET", "HEAD"}
    assert not any(request.body or "authorization" in request.headers for request in seen)


def test_the_token_opens_what_is_gated_and_goes_to_the_hub_only(hub, runs, tmp_path):
    hub.members.add(CANARY)
    before = len(hub.seen)
    token = {"HF_TOKEN": CANARY, "HF_HOME": str(tmp_path)}
    gated, tables = runs("org/gated:hard", "org/tables", rows_from=FIRST_ON_HUB, **token)
    assert (gated.code, tables.code) == (0, 0), gated.said + tables.said
    assert gated.evidence() == tables.evidence() == [None], "of the two rows the first"
    rows = [request for request in hub.seen[before:] if "/org/" in request.path]
    sent = {(request.host, request.headers.get("authorization")) for request in rows}
    assert sent == {("hub", f"Bearer {CANARY}"), ("storage", None)}
    assert not [file for file in gated.run.parent.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]


def test_without_the_hub_a_full_commit_comes_from_the_cache_or_is_refused_never_another_one(hub, strangers, runs):
    old, new = hub.repos["org/texts"].commits
    before = len(hub.seen)
    cached, other, moving = runs(
        f"org/texts:hard:test@{new}", f"org/texts:hard:test@{old}", "org/texts:hard", HF_HUB_OFFLINE="1"
    )
    assert cached.evidence() == [None, f"org/texts:1: {NEW}", None], cached.said
    assert f"its cache answers for another commit, {new}; connect, or name that one" in other.said
    assert "cannot be reached" in moving.said
    (unreachable,) = runs(f"org/texts:hard:test@{new}", HF_ENDPOINT="http://127.0.0.1:9")
    assert "the Hub cannot be reached" in unreachable.said
    assert "name its full commit as the revision and set HF_HUB_OFFLINE=1" in unreachable.said
    assert {other.code, moving.code, unreachable.code} == {1}
    assert hub.seen[before:] == []


def test_a_folder_of_the_same_name_is_not_taken_for_the_dataset(monkeypatch, tmp_path):
    (tmp_path / "org" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match=r"decontaminate\.benchmarks: there is a local folder 'org/set'"):
        benchmark("org/set", None, "test", None)
