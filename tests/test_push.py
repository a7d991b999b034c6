"""What a push sends, to whom, and how often: asserted on what a Hub over real HTTP received from the real client.

`test_push_faults.py` has what goes wrong."""

import io
import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hub_server import Repo
from pushing import REPO, paths, push_run, sent

from distill.push.parcel import public_recipe
from distill.recipe.file import load_recipe

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own


PLAIN = {pl.String, pl.Int32, pl.UInt32, pl.Float64, pl.Boolean}


def plain(dtype):
    """The types in a column, however nested."""
    if isinstance(dtype, pl.List):
        return plain(dtype.inner)
    return set().union(*(plain(field.dtype) for field in dtype.fields)) if isinstance(dtype, pl.Struct) else {dtype}


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
        "rejected/train-00000-of-00001.parquet",
        "report.html",
        "rollouts/train-00000-of-00001.parquet",
        "stats.json",
    }
    assert second in said
    for path, content in repo.files.items():
        if path.endswith(".parquet"):
            assert not pq.read_schema(io.BytesIO(content)).metadata, "no features that `datasets` makes files of"
            assert set().union(*map(plain, pl.read_parquet(content).dtypes)) <= PLAIN
    uploads = hub.received("PUT", ".")
    assert len(uploads) == 4
    assert all("authorization" not in upload.headers for upload in uploads)


def test_the_recipe_that_is_pushed_is_the_one_that_was_run(hub, made, tmp_path):
    push_run(made)
    (tmp_path / "recipe.yaml").write_bytes(hub.repos[REPO].files["recipe.yaml"])
    assert load_recipe(tmp_path / "recipe.yaml") == load_recipe(made / "sums.yaml")


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_any_recipe_is_public_without_loss(path, tmp_path, monkeypatch):
    shutil.copytree("recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    Path("trajectories.jsonl").write_text('{"problem": "1?", "response": "1"}\n')  # what some of them import
    recipe = load_recipe(path)
    (tmp_path / "recipe.yaml").write_text(public_recipe(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


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
