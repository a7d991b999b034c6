"""What a push sends, to whom, and how often: asserted on what a Hub over real HTTP received from the real client."""

import json

import pytest
from hub_server import Fault, Repo, hub_stand_in
from typer.testing import CliRunner

from distill import push as act
from distill.cli import app

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

TOKEN = "hf_" + "canary" * 6
RECIPE = """\
problems:
  arithmetic: {count: 40, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 2
verdicts: [format, verify_math]
dataset: {license: apache-2.0, title: Sums}
"""
REPO = "me/sums"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a recipe and its finished run."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "sums.yaml").write_text(RECIPE)
    result = CliRunner().invoke(app, ["run", str(folder / "sums.yaml"), "--runs", str(folder / "runs")])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_stand_in() as hub:
        hub.writers.add(TOKEN)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(act, "WAIT_S", 0.001)
        yield hub


@pytest.fixture
def push(made, hub):
    """`distill push` of the run; its exit code and all that it said."""

    def push(*options, repo=REPO):
        arguments = ["push", str(made / "sums.yaml"), repo, "--runs", str(made / "runs"), *options]
        result = CliRunner().invoke(app, arguments)
        assert TOKEN not in result.output + str(result.exception)
        return result.exit_code, result.output

    return push


def sent(hub):
    """The operations of each commit that the Hub received."""
    return [[json.loads(line) for line in seen.body.splitlines()] for seen in hub.received("POST", "/commit/")]


def test_a_first_push_is_private_and_one_commit_on_what_was_seen(hub, push):
    code, said = push()
    assert code == 0, said
    (created,) = hub.received("POST", "/repos/create")
    assert json.loads(created.body)["visibility"] == "private"
    repo = hub.repos[REPO]
    assert repo.private
    first, second = repo.commits
    ((header, *operations),) = sent(hub)
    assert header["value"]["parentCommit"] == first
    paths = {operation["value"]["path"] for operation in operations}
    assert paths == set(repo.files) - {".gitattributes"}
    assert paths == {
        "README.md",
        "dataset_info.json",
        "default/train-00000-of-00001.parquet",
        "prompt_completion/train-00000-of-00001.parquet",
        "recipe.lock.json",
        "recipe.yaml",
        "rollouts/train-00000-of-00001.parquet",
        "stats.json",
    }
    assert second in said
    uploads = hub.received("PUT", ".")
    assert len(uploads) == 3
    assert all("authorization" not in upload.headers for upload in uploads)


def test_a_second_push_sends_nothing(hub, push):
    push()
    before = len(hub.seen)
    code, said = push()
    assert (code, "nothing was sent" in said) == (0, True)
    assert {seen.method for seen in hub.seen[before:]} <= {"GET", "HEAD"}
    assert len(hub.repos[REPO].commits) == 2


def test_a_public_repository_gets_nothing_unless_public_is_typed(hub, push):
    hub.repos[REPO] = Repo(private=False)
    hub.repos[REPO].add({".gitattributes": b""})
    code, said = push()
    assert (code, "me/sums is public" in said) == (1, True)
    assert {seen.method for seen in hub.seen} == {"GET"}
    assert push("--public")[0] == 0


@pytest.mark.parametrize("status", [409, 412, 429, 500])
def test_a_refused_commit_is_made_again_once(hub, push, status):
    hub.faults.append(Fault("POST", "/commit/", lambda reply: (status, {}, b'{"error": "not now"}'), times=2))
    code, said = push()
    assert code == 0, said
    assert len(sent(hub)) == 3
    assert len(hub.repos[REPO].commits) == 2
    assert len(hub.received("PUT", ".")) == 3, "what is in the Hub's storage is not sent again"
