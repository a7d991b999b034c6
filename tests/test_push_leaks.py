"""Nothing leaves that must not: secrets, paths and host names, in rows and in what distill writes beside them."""

import json

import polars as pl
import pytest
from pushing import REPO, TOKEN, make_run, push_run, sent

from distill.hub.repo import File
from distill.push.leaks import LeakError, check, kinds, wash

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

A = "Aa0" * 20
LEAKS = [
    ("hugging_face_token", f"login with hf_{A[:34]}, please"),
    ("api_key", f"key=sk-proj-{A[:40]}"),
    ("aws_key", "AKIA" + "ABCD2345" * 2),
    ("github_token", "ghp_" + A[:36]),
    ("gitlab_token", "glpat-" + A[:20]),
    ("google_key", "AIza" + A[:35]),
    ("slack_token", "xoxb-123456789012-" + A[:10]),
    ("stripe_key", "sk_live_" + A[:24]),
    ("package_registry_token", "npm_" + A[:36]),
    ("json_web_token", f"eyJ{A[:12]}.eyJ{A[:12]}.{A[:12]}"),
    ("private_key", "-----BEGIN OPENSSH PRIVATE KEY-----"),
    ("password_in_url", "postgres://ada:hunter2@db/x"),
    ("local_path", "saved in /home/ada/runs/x.json"),
    ("local_path", r"saved in C:\Users\ada\x.json"),
    ("local_path", r'{"a": "first\n/home/ada"}'),
    ("local_path", "read `/mnt/disk/rows.parquet`"),
    ("local_path", "file:///etc/passwd"),
    ("local_path", "déjà vu dans «/home/jörg/x»"),
    ("api_key", f"clé：sk-{A[:40]}，"),
    ("host_name", "http://10.1.2.3:8000/v1"),
    ("host_name", "https://gpu7.cluster.local/v1"),
    ("environment_secret", "the word is correct-horse-battery"),
]
HARMLESS = [
    "We have sk-1, sk-2 and hf_1; AKIA is a name.",
    "the ratio a/b/c, and/or 3/4; /usr/bin is a folder; see https://example.com/home/ada",
    "-----BEGIN CERTIFICATE-----",
    "Let x:y = 3:4, that is http://example.com:80/a@b.",
    "def f(path='/tmp'): return open(path)",
    "10.1.2.3 is a version",
]


@pytest.fixture
def _environment(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "correct-horse-battery")
    monkeypatch.setenv("SHORT_KEY", "sums")


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(("kind", "text"), LEAKS)
def test_a_leak_is_found_wherever_it_stands_and_never_repeated(kind, text, tmp_path):
    nested = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": f"First.\n{text}\nThen."}]
    pl.DataFrame({"id": ["a", "b"], "messages": [[nested[0]], nested]}).write_parquet(tmp_path / "x.parquet")
    header = json.dumps({"__metadata__": {"note": text}}).encode()
    files = {
        "default/x.parquet": (File(tmp_path / "x.parquet"), "row 1, column messages.content"),
        "recipe.yaml": (File(f"# made\nnote: {text}\n".encode()), "line 2"),
        "model.safetensors": (File(len(header).to_bytes(8, "little") + header + b"\0" * 8), "line 1"),
    }
    for path, (file, place) in files.items():
        with pytest.raises(LeakError) as caught:
            check({path: file})
        assert f"{path}, {place}: {kind}" in str(caught.value)
        assert text not in str(caught.value)
        if path.endswith(".parquet"):
            check({path: file}, allowed=[kind])
        else:
            with pytest.raises(LeakError):
                check({path: file}, allowed=[kind])


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("text", HARMLESS)
def test_what_reasoning_is_full_of_is_no_leak(text):
    assert kinds(text) == []


@pytest.mark.parametrize("text", [text for kind, text in LEAKS if kind in ("local_path", "host_name")])
def test_places_in_what_we_write_are_washed_off(text):
    assert kinds(wash(text)) == []
    assert wash("read `/mnt/disk/rows.parquet` of '/home/ada/x y'") == "read `rows.parquet` of 'x y'"


NAMES = {
    # what a recipe or a manifest has: what is published
    "runs/cold_start/student/small": "cold_start:small",
    "runs/cold_start/student/small@sha256:0a": "cold_start:small@sha256:0a",
    "/mnt/disk of ada/runs/cold.start/student/small@sha256:0a": "cold.start:small@sha256:0a",
    "~/runs/x/student/small": "x:small",
    "../x/student/small/checkpoint-100": "x:small/checkpoint-100",
    "x/student/small": "x:small",
    "/mnt/models/student": "student",
    "deepseek-ai/DeepSeek-R1@main": "deepseek-ai/DeepSeek-R1@main",
    "accounts/fireworks/models/deepseek-r1": "accounts/fireworks/models/deepseek-r1",
    "a/student": "a/student",
    "Ask a/student/b in short": "Ask a/student/b in short",
    "/no_think": "/no_think",
    "": "",
}


@pytest.mark.parametrize("text", NAMES)
def test_a_local_model_is_named_for_others(text):
    assert wash(text) == NAMES[text]
    assert wash(NAMES[text]) == NAMES[text]


def test_a_kind_that_there_is_not_allows_nothing():
    with pytest.raises(LeakError, match="--allow local_paths: there is no such kind; there are api_key"):
        check({}, allowed=["local_paths"])


IMPORTED = """\
trajectories:
  import: {path: ROWS}
verdicts: [format]
dataset: {license: other, source_licenses: mit, teacher_license: mit}
"""


def test_a_secret_in_a_row_stops_a_push_before_the_hub_is_asked(hub, tmp_path):
    rows = tmp_path / "rows.jsonl"
    answers = [r"So \boxed{1}.", rf"My token is {TOKEN}, so \boxed{{2}}.", r"In /home/ada/x.py, \boxed{3}."]
    text = "".join(
        json.dumps({"problem": f"{n}?", "reasoning": "Hm.", "response": answer, "teacher": "me"}) + "\n"
        for n, answer in enumerate(answers)
    )
    rows.write_text(text)
    make_run(tmp_path, IMPORTED.replace("ROWS", str(rows)))
    code, said = push_run(tmp_path, "--allow", "local_path", "--no-report")
    assert (code, "hugging_face_token" in said, "row 1, column" in said) == (1, True, True), said
    assert "local_path" not in said, "what is allowed in rows is not told"
    assert not hub.seen
    rows.write_text(text.replace(TOKEN, "hf_x"))
    make_run(tmp_path, IMPORTED.replace("ROWS", str(rows)))
    code, said = push_run(tmp_path)
    assert (code, "row 2, column" in said, "--allow KIND" in said) == (1, True, True), said
    assert not hub.seen
    code, said = push_run(tmp_path, "--allow", "local_path", "--no-report")
    assert code == 0, said
    assert str(tmp_path) not in "".join(map(str, sent(hub)))
    for path, content in hub.repos[REPO].files.items():
        assert TOKEN.encode() not in content, path
        assert str(tmp_path).encode() not in content, path
