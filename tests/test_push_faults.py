"""A push while the Hub fails, refuses, or is changed by others: what arrived there, and that the same command goes on.

Faults are tables of cases. A fault gets what would do the work and give the true reply; it returns the reply that the
client sees, or None to cut the connection.
"""

from types import SimpleNamespace

import pytest
from hub_server import Fault, Repo
from pushing import REPO, TOKEN, paths, push_run, sent

from distill import push as act
from distill.push.parcel import LOCK

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

READ, CREATE, PREUPLOAD, BATCH = "/api/datasets/", "/repos/create", "/preupload/", "/objects/batch"
CARD = "/validate-yaml"
UPLOAD, COMMIT = r"/[0-9a-f]{64}", "/commit/"


def status(number):
    return lambda hub: lambda reply: (number, {}, b'{"error": "not now"}')


def cut(hub):
    return lambda reply: None


def answer_lost(hub):
    return lambda reply: (reply(), None)[1]


def answers_500(hub):
    return lambda reply: (reply(), (500, {}, b'{"error": "made, but not said"}'))[1]


def before(change):
    return lambda hub: lambda reply: (change(hub), reply())[1]


def after(change):
    return lambda hub: lambda reply: (reply(), change(hub))[0]


def others_commit(hub):
    hub.repos[REPO].add({**hub.repos[REPO].files, "theirs.txt": b"hello"})


def damage(hub):
    hub.stored = {oid: content[:-1] for oid, content in hub.stored.items()}


def publish(hub):
    hub.repos[REPO].private = False


def delete(hub):
    del hub.repos[REPO]


def swallow(hub):
    repo = hub.repos[REPO]
    repo.add({path: content for path, content in repo.files.items() if path != "stats.json"})


PASSES = {
    # name: (method, path, what goes wrong, times), commit requests that arrive
    "commit 409": (("POST", COMMIT, status(409), 2), 3),
    "commit 412": (("POST", COMMIT, status(412), 2), 3),
    "commit 429": (("POST", COMMIT, status(429), 2), 3),
    "commit 500": (("POST", COMMIT, status(500), 2), 3),
    "commit 504": (("POST", COMMIT, status(504), 1), 2),
    "commit cut off": (("POST", COMMIT, cut, 1), 2),
    "commit made, answer lost": (("POST", COMMIT, answer_lost, 1), 1),
    "commit made, answer 500": (("POST", COMMIT, answers_500, 1), 1),
    "others commit just before": (("POST", COMMIT, before(others_commit), 1), 2),
    "others commit while we upload": (("PUT", UPLOAD, before(others_commit), 1), 1),
    "others commit just after": (("POST", COMMIT, after(others_commit), 1), 1),
    "card 503": (("POST", CARD, status(503), 2), 1),
    "card cut off": (("POST", CARD, cut, 1), 1),
    "preupload 500": (("POST", PREUPLOAD, status(500), 2), 1),
    "batch 500": (("POST", BATCH, status(500), 1), 1),
    "batch 429": (("POST", BATCH, status(429), 1), 1),
    "upload 503": (("PUT", UPLOAD, status(503), 1), 1),
    "upload cut off": (("PUT", UPLOAD, cut, 1), 1),
    "upload damaged": (("PUT", UPLOAD, after(damage), 1), 1),
    "reading 503": (("GET", READ, status(503), 2), 1),
    "reading cut off": (("GET", "/tree/", cut, 1), 1),
    "creating 500": (("POST", CREATE, status(500), 1), 1),
    "created, answer lost": (("POST", CREATE, answer_lost, 1), 1),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_is_waited_out_and_our_commit_is_made_once(hub, made, name):
    (method, path, fault, times), commits = PASSES[name]
    hub.faults.append(Fault(method, path, fault(hub), times))
    code, said = push_run(made)
    assert code == 0, said
    assert hub.faults[0].times == 0, "the fault was met"
    repo = hub.repos[REPO]
    assert repo.private
    assert len(sent(hub)) == commits
    assert len([operations for operations in sent(hub) if LOCK in paths(operations)]) == commits
    assert len(repo.commits) == 2 + ("theirs.txt" in repo.files), "created, theirs, ours"
    assert ("theirs.txt" in repo.files) == name.startswith("others")
    seen = len(hub.seen)
    assert push_run(made)[0] == 0
    assert {request.method for request in hub.seen[seen:]} <= {"GET", "HEAD"}, "a second push only reads"


@pytest.mark.parametrize(("asked", "waited"), [("70", 70.0), ("999999", 600.0), ("soon", 0.001)])
def test_a_hub_that_wants_to_be_left_alone_is(hub, made, monkeypatch, asked, waited):
    slept = []
    monkeypatch.setattr(act, "time", SimpleNamespace(sleep=slept.append))
    hub.faults.append(Fault("POST", COMMIT, lambda reply: (429, {"Retry-After": asked}, b"{}")))
    assert push_run(made)[0] == 0
    assert slept == [waited]
    assert len(hub.repos[REPO].commits) == 2


def nothing(hub):
    """The Hub as it comes: our token may write, and there is no repository."""


def private(hub, **files):
    hub.repos[REPO] = Repo(private=True)
    hub.repos[REPO].add({".gitattributes": b""})


def of_the_world(hub):
    hub.repos[REPO] = Repo(private=False)
    hub.repos[REPO].add({".gitattributes": b""})


def may_only_read(hub):
    private(hub)
    hub.writers, hub.readers = set(), {TOKEN}


def may_not_even_read(hub):
    private(hub)
    hub.writers = set()


def rows_of_others(hub):
    private(hub)
    hub.repos[REPO].add({"default/old.parquet": b"PAR1"})


def down(hub):
    hub.faults.append(Fault("GET", ".", lambda reply: None, times=10**6))


NOTHING_SENT, STORED_ONLY, COMMITTED = "nothing", "stored", "committed"
REFUSED = {
    # name: the Hub before, what goes wrong, what is said, what may have arrived
    "it is public": (of_the_world, None, "me/sums is public, but the command has no --public", NOTHING_SENT),
    "it is private": (private, None, "me/sums is private, but the command has --public", NOTHING_SENT),
    "public once created": (nothing, ("POST", CREATE, after(publish), 1), "me/sums is public", NOTHING_SENT),
    "public while we upload": (nothing, ("PUT", UPLOAD, before(publish), 1), "me/sums is public", STORED_ONLY),
    "public once committed": (nothing, ("POST", COMMIT, after(publish), 1), "has its rows; make it private", COMMITTED),
    "token may only read": (may_only_read, None, "as somebody who may write there", NOTHING_SENT),
    "token may not see it": (may_not_even_read, None, "Log in with `hf auth login` or HF_TOKEN", NOTHING_SENT),
    "rows of others": (rows_of_others, None, "holds default/old.parquet, which no push of ours wrote", NOTHING_SENT),
    "deleted while we upload": (nothing, ("PUT", UPLOAD, before(delete), 1), "Repository Not Found", STORED_ONLY),
    "down": (down, None, "Given up after 6 attempts; the same command goes on", NOTHING_SENT),
    "commit refused for good": (
        private,
        ("POST", COMMIT, status(500), 10**6),
        "Given up after 6 attempts",
        STORED_ONLY,
    ),
    "commit forbidden": (private, ("POST", COMMIT, status(403), 1), "as somebody who may write there", STORED_ONLY),
    "commit is no good": (private, ("POST", COMMIT, status(400), 1), "the Hub did not let us write to", STORED_ONLY),
    "uploads refused for good": (private, ("PUT", UPLOAD, status(503), 10**6), "Given up after 6", NOTHING_SENT),
    "a file is not there after": (private, ("POST", COMMIT, after(swallow), 1), "under stats.json", COMMITTED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_pass_is_told_and_nothing_half_made_is_left(hub, made, name):
    arrange, fault, says, arrived = REFUSED[name]
    arrange(hub)
    if fault:
        hub.faults.append(Fault(*fault[:2], fault[2](hub), fault[3]))
    code, said = push_run(made, *(["--public"] if name == "it is private" else []))
    assert (code, says in said) == (1, True), said
    assert "Traceback" not in said
    if arrived == NOTHING_SENT:
        assert not hub.stored
        assert not [request for request in hub.seen if b"# Sums" in request.body], "no page"
    if arrived != COMMITTED:
        assert not any("README.md" in files for repo in hub.repos.values() for files in repo.commits.values())
    if arrange is private:
        hub.faults.clear()
        assert push_run(made)[0] == 0, "the same command goes on"
        assert "stats.json" in hub.repos[REPO].files


def test_the_namespace_of_somebody_else_is_refused(hub, made):
    code, said = push_run(made, repo="them/sums")
    assert (code, "them" in said, "may write there" in said) == (1, True, True), said
    assert [seen.path for seen in hub.seen if seen.method != "GET"] == ["/api/validate-yaml", "/api/repos/create"]


@pytest.mark.parametrize("repo", ["sums", "a/b/c", "me/su ms", "../sums"])
def test_what_is_no_repository_id_asks_nobody(hub, made, repo):
    code, said = push_run(made, repo=repo)
    assert (code, "such as me/" in said) == (1, True), said
    assert not hub.seen


def test_more_files_than_a_commit_holds_end_with_lock_and_card(hub, made, monkeypatch):
    monkeypatch.setattr(act, "FILES_PER_COMMIT", 3)
    hub.faults.append(Fault("POST", COMMIT, lambda reply: reply()))
    hub.faults.append(Fault("POST", COMMIT, status(400)(hub)))
    assert push_run(made)[0] == 1
    repo = hub.repos[REPO]
    assert "README.md" not in repo.files, "interrupted: nobody takes it for whole"
    first = set(repo.files)
    code, said = push_run(made)
    assert code == 0, said
    whole = [set(paths(operations)) for operations in sent(hub)]
    assert [len(paths) for paths in whole] == [3, 3, 3, 2, 2]
    assert whole[0] == first - {".gitattributes"}
    assert whole[-1] >= {"README.md", LOCK}
    assert not {"README.md", LOCK} & set.union(*whole[:-1])
    assert len(hub.received("PUT", ".")) == 4, "every large file once"
    heads = [operations[0]["value"]["parentCommit"] for operations in sent(hub)]
    commits = list(repo.commits)
    assert heads == [commits[0], commits[1], commits[1], commits[2], commits[3]]
