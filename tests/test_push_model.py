"""A student on the Hub: what of its folder is sent, its card, and the same promises as for a dataset."""

import html
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from hub_server import Fault, Repo
from pushing import RECIPE, REPO, TOKEN, make_run, paths, push_run, sent

from distill import student
from distill.engines._local import folder_digest
from distill.push import PushError, model
from distill.recipe.file import load_recipe
from distill.store import Run

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

MODEL = "me/sums-tiny"
ARMS = """\
student:
  arms:
    tiny: {base: {architecture: qwen2, hidden_size: 16, layers: 1, heads: 2}, license: mit}
    bare: {own: {epochs: 1}, base: {architecture: qwen2, hidden_size: 16, layers: 1, heads: 2}, rows: verify_math}
"""
LEFT_BESIDE = ("training_args.bin", "training.jsonl", "checkpoint-2/optimizer.pt", "sft.yaml")


def untrained(rows, *, base, out, **_):
    """In place of training, which has its own tests: the base as it was, and what a trainer leaves beside it."""
    shutil.copytree(base, out, dirs_exist_ok=True)
    for name in LEFT_BESIDE:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("/home/ada")
    return {"rows": len(rows), "dropped": {}, "steps": 3, "seconds": 1.5, "loss": 5.25}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(student.METHODS, "sft", (untrained, student.METHODS["sft"][1]))
        return make_run(tmp_path_factory.mktemp("students"), RECIPE + ARMS)


def push_student(made, *options, arm="tiny"):
    return push_run(made, "--student", arm, *options, repo=MODEL)


def test_a_student_is_sent_privately_in_one_commit_and_only_what_a_model_is(hub, made, tmp_path):
    code, said = push_student(made, "--dry-run")
    assert (code, "model.safetensors" in said, "+| the student | mit |" in said) == (0, True, True), said
    assert not hub.models
    code, said = push_student(made)
    assert code == 0, said
    (created,) = hub.received("POST", "/repos/create")
    assert json.loads(created.body)["visibility"] == "private"
    ((header, *operations),) = sent(hub)
    repo = hub.models[MODEL]
    assert header["value"]["parentCommit"] == next(iter(repo.commits))
    assert set(paths(operations)) == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "recipe.lock.json",
        "recipe.yaml",
        "report.html",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    seen = len(hub.seen)
    assert push_student(made)[0] == 0
    assert {request.method for request in hub.seen[seen:]} <= {"GET", "HEAD"}
    for path, content in repo.files.items():
        (tmp_path / path).write_bytes(content)
    transformers = pytest.importorskip("transformers")
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tmp_path)


def test_the_card_links_the_dataset_that_it_was_made_from_and_no_other(hub, made):
    code, said = push_student(made, "--dataset", REPO)
    assert (code, "holds no dataset that distill pushed" in said) == (1, True), said
    assert push_run(made)[0] == 0
    lock = json.loads(hub.repos[REPO].files["recipe.lock.json"])
    code, said = push_student(made, "--dataset", REPO)
    assert code == 0, said
    card = hub.models[MODEL].files["README.md"].decode()
    commit = list(hub.repos[REPO].commits)[-1]
    assert f"datasets/{REPO}/tree/{commit}), digest {lock['stages']['dataset']['digest']} |" in card
    head = pytest.importorskip("huggingface_hub").ModelCard(card).data
    assert (head.datasets, head.license, head.base_model) == ([REPO], "mit", None), "a base from scratch has no address"
    lock["stages"]["dataset"]["digest"] = "0" * 16
    hub.repos[REPO].add({**hub.repos[REPO].files, "recipe.lock.json": json.dumps(lock).encode()})
    code, said = push_student(made, "--dataset", REPO)
    assert (code, "holds another dataset" in said) == (1, True), said
    assert len(sent(hub)) == 2


def test_the_card_says_what_it_was_trained_on(hub, made):
    assert push_student(made)[0] == 0
    card = hub.models[MODEL].files["README.md"].decode()
    for part in (
        "| trained on | rows of the dataset |",
        "| loss | 5.25 |",
        "| learning_rate | 0.0001 |",
        "| the problems of distill/arithmetic | cc0-1.0 |\n| the teacher's outputs | mit |",
        "What it has learned was not measured.",
        "distill run recipe.yaml --name sums",
    ):
        assert part in card, part


TAUGHT = """\
problems:
  arithmetic: {count: 4, steps: [1, 1]}
trajectories:
  teacher: TEACHER
  engine: transformers
  samples_per_problem: 2
  max_tokens: 8
verdicts: [dedup_exact]
dataset: {license: mit, source_licenses: mit, teacher_license: mit, rejected: true}
"""
TEACHERS = {
    # name: what the recipe says, and what of it is published
    "by its recipe": ("{recipe: FOLDER/sums.yaml, arm: tiny}", {"recipe": "sums.yaml", "arm": "tiny"}),
    "by its folder": ("FOLDER/runs/sums/student/tiny", "sums:tiny"),
    "by its folder from here": ("runs/sums/student/tiny", "sums:tiny"),
}


@pytest.mark.parametrize("name", TEACHERS)
def test_a_student_that_teaches_has_one_name_wherever_it_is_published(hub, made, tmp_path, monkeypatch, name):
    asked, published = TEACHERS[name]
    folder = Path(shutil.copytree(made, tmp_path / "here" / "made"))
    monkeypatch.chdir(folder)
    make_run(folder, TAUGHT.replace("TEACHER", asked.replace("FOLDER", str(folder))), name="taught")
    code, said = push_run(folder, repo="me/taught", name="taught")
    assert code == 0, said
    assert push_student(folder)[0] == 0
    (tmp_path / "downloaded").mkdir()
    for path, content in hub.models[MODEL].files.items():
        (tmp_path / "downloaded" / path).write_bytes(content)
    teacher = f"sums:tiny@{folder_digest(tmp_path / 'downloaded')}"
    files = hub.repos["me/taught"].files
    for config in ("default", "rollouts"):
        rows = pl.read_parquet(files[f"{config}/train-00000-of-00001.parquet"])["teacher"]
        assert set(rows.explode() if rows.dtype == pl.List else rows) == {teacher}
    assert [group["name"] for group in json.loads(files["stats.json"])["teachers"]] == [teacher]
    facts = json.loads(files["recipe.lock.json"])["facts"]["trajectories"]["teacher"]
    assert f"{facts['model']}@{facts['revision']}" == teacher
    assert yaml.safe_load(files["recipe.yaml"])["trajectories"]["teacher"] == published
    assert b"sums:tiny" in files["report.html"]
    for card in (files["README.md"], hub.models[MODEL].files["README.md"]):
        assert teacher in html.unescape(card.decode())
    for path, content in (*files.items(), *hub.models[MODEL].files.items()):
        if path.endswith(".parquet"):
            content = pl.read_parquet(content).write_json().encode()
        for place in (str(tmp_path), "runs/sums", "student/tiny"):
            assert place.encode() not in content, path


def test_every_method_says_what_it_learns_from():
    assert set(model.LEARNS) == set(student.METHODS)


def of_the_world(hub, made):
    hub.models[MODEL] = Repo(private=False)
    hub.models[MODEL].add({".gitattributes": b""})


def weights_of_others(hub, made):
    hub.models[MODEL] = Repo(private=True)
    hub.models[MODEL].add({"pytorch_model.bin": b"pickle"})


def secret_in_config(hub, made):
    (made / "runs/sums/student/tiny/config.json").write_text(json.dumps({"model_type": "qwen2", "token": TOKEN}))


REFUSED = {
    "it is public": (of_the_world, "tiny", "me/sums-tiny is public, but the command has no --public"),
    "weights of others": (weights_of_others, "tiny", "pytorch_model.bin, which no push of ours wrote"),
    "secret in its configuration": (secret_in_config, "tiny", "config.json, line 1: hugging_face_token"),
    "no such student": (lambda hub, made: None, "tin", "has no student 'tin'; it has tiny, bare"),
    "no licence": (lambda hub, made: None, "bare", "student.arms.bare.license: a licence that those of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_be_pushed_sends_nothing(hub, made, tmp_path, name):
    arrange, arm, says = REFUSED[name]
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    arrange(hub, copy)
    code, said = push_student(copy, arm=arm)
    assert (code, says in said) == (1, True), said
    assert {request.method for request in hub.seen} <= {"GET"}


UNDECLARED = {
    "of the teacher": ({"teacher_license": None}, "dataset.teacher_license: the licence or terms of what the teacher"),
    "of the problems": ({"source_licenses": {}}, "dataset.source_licenses: the licence of the problems of distill/ari"),
    "of anything": (None, "has no `dataset` section, and so declares no licence"),
}


@pytest.mark.parametrize("name", UNDECLARED)
def test_a_licence_of_what_a_student_learned_from_is_never_guessed(made, name):
    changed, says = UNDECLARED[name]
    recipe = load_recipe(made / "sums.yaml")
    dataset = changed and recipe.dataset.model_copy(update=changed)
    run = Run("sums", made / "runs" / "sums", recipe.model_copy(update={"dataset": dataset}))
    with pytest.raises(PushError, match=re.escape(says)):
        model.model_parcel(run, "tiny", MODEL, origin=None)


def test_a_lost_answer_makes_no_second_commit(hub, made):
    hub.faults.append(Fault("POST", "/commit/", lambda reply: (reply(), None)[1]))
    assert push_student(made)[0] == 0
    assert len(sent(hub)) == 1
    assert len(hub.models[MODEL].commits) == 2
