"""What a push sends, to whom, and how often: asserted on what a Hub over real HTTP received from the real client.

`test_push_faults.py` has what goes wrong."""

import json

import pytest
from hub_server import Repo
from pushing import REPO, paths, push_run, sent

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own


def test_a_first_push_is_private_and_one_commit_on_what_was_seen(hub, made):
    code, said = push_run(made)
    assert code == 0, said
    (created,) = hub.received("POST", "/repos/create")
    assert json.loads(created.body)["visibility"] == "private"
    repo = hub.repos[REPO]
    assert repo.private
    first, second = repo.commits
    ((header, *operations),) = sent(hub)
    assert header["value"]["parentCommit"] == first
    assert set(paths(operations)) == set(repo.files) - {".gitattributes"}
    assert set(paths(operations)) == {
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


def test_a_second_push_sends_nothing(hub, made):
    push_run(made)
    before = len(hub.seen)
    code, said = push_run(made)
    assert (code, "nothing was sent" in said) == (0, True)
    assert {seen.method for seen in hub.seen[before:]} <= {"GET", "HEAD"}
    assert len(hub.repos[REPO].commits) == 2


def test_a_public_repository_gets_nothing_unless_public_is_typed(hub, made):
    hub.repos[REPO] = Repo(private=False)
    hub.repos[REPO].add({".gitattributes": b""})
    code, said = push_run(made)
    assert (code, "me/sums is public" in said) == (1, True)
    assert {seen.method for seen in hub.seen} == {"GET"}
    assert push_run(made, "--public")[0] == 0
