"""What another run has paid for is taken from it, also while it is being written, and asked for no more."""

import hashlib
import threading

import polars as pl
import pytest
from test_cli import RECIPE, call
from test_sampler import PROBLEMS, Counting, Heard

from distill import samples
from distill.engines.scripted import ScriptedEngine
from distill.journal import Journal, read_rows
from distill.ledger import Ledger
from distill.recipe.trajectories import Generation
from distill.sampler import sample
from distill.store import RunError

TWO = Generation(samples_per_problem=2)
THREE = TWO.model_copy(update={"samples_per_problem": 3})


def draw(run, answer, settings=TWO, draw_on=(), problems=PROBLEMS):
    ledger, heard = Ledger(), Heard()
    with ScriptedEngine(answer, name="script") as engine:
        folder, on = run / "trajectories", map(str, draw_on)
        table = sample(engine, problems, settings, folder, name="t", progress=heard, ledger=ledger, draw_on=on)
    return table, ledger, heard.lines


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_samples_of_the_same_request_are_taken_and_only_the_rest_is_asked(tmp_path):
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    draw(first, Counting(fail=("c#1",)), problems=PROBLEMS.tail(2))
    before, rest = contents(first), Counting()
    table, ledger, said = draw(second, rest, THREE, [first])
    assert sorted(rest.asked) == ["a#0", "a#1", "a#2", "b#2", "c#1", "c#2"]
    assert table.equals(draw(tmp_path / "undisturbed", Counting(), THREE)[0])
    assert said == [f"  3 samples taken from {first}, 0 were there"]
    assert ledger.counts.facts() == {"requested": 9, "ok": 9, "failed": 0, "pending": 0, "drawn_on": {str(first): 3}}
    assert ledger.spent.samples == 6, "what another run has paid for is not spent here"
    assert contents(first) == before

    again, nothing = Counting(), Counting()
    _, ledger, said = draw(second, again, THREE, [first])
    assert (again.asked, said, ledger.counts.drawn_on) == (
        [],
        [f"  0 samples taken from {first}, 3 were there"],
        {str(first): 3},
    )
    _, ledger, _ = draw(third, nothing, THREE, [second])
    assert nothing.asked == []
    assert ledger.counts.drawn_on == {str(first): 3, str(second): 6}, "each is owed to the run that paid for it"


def test_samples_of_other_requests_are_left_and_what_differs_is_said(tmp_path):
    draw(tmp_path / "first", Counting())
    warmer, asked = TWO.model_copy(update={"temperature": 0.9}), Counting()
    _, ledger, said = draw(tmp_path / "second", asked, warmer, [tmp_path / "first"])
    assert (len(asked.asked), ledger.counts.drawn_on) == (6, {})
    assert said == [f"  {tmp_path / 'first'}: none of its samples is of the same request; temperature: was 0.6, is 0.9"]


def test_a_run_that_is_not_there_or_is_the_run_itself_is_an_error(tmp_path):
    with pytest.raises(RunError, match="is no run with samples"):
        draw(tmp_path / "run", Counting(), draw_on=[tmp_path / "no"])
    with pytest.raises(RunError, match="is this run itself"):
        draw(tmp_path / "run", Counting(), draw_on=[tmp_path / "run"])


def test_a_reader_finds_everything_acknowledged_while_rows_are_written_and_sealed(tmp_path):
    path, schema, rows = tmp_path / "j.jsonl", pl.Schema({"n": pl.Int64}), 1500
    acknowledged, stop, faults = [0], threading.Event(), []

    def read():
        while not stop.is_set():
            known = acknowledged[0]
            found = read_rows(path, schema).unique().sort("n").collect()["n"].to_list()
            if found[:known] != list(range(known)):
                faults.append((known, found))

    with Journal(path, schema, seal_bytes=3000) as journal:
        reader = threading.Thread(target=read)
        reader.start()
        for n in range(rows):
            journal.append({"n": n})
            if n % 7 == 0:
                journal.flush()
                acknowledged[0] = n + 1
        stop.set()
        reader.join()
    assert faults == []
    assert len([*tmp_path.glob("*.parquet")]) > 5


def test_a_damaged_shard_of_another_run_is_left_where_it_is_and_its_samples_are_asked(tmp_path):
    first = tmp_path / "first"
    draw(first, Counting())
    shard = first / "trajectories/journal-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    asked, before = Counting(), contents(first)
    draw(tmp_path / "second", asked, draw_on=[first])
    assert (len(asked.asked), contents(first)) == (6, before)


def test_a_fork_starts_with_the_samples_that_are_asked_for_in_the_same_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert call("trajectories", "r.yaml").exit_code == 0
    changed = call("trajectories", "r.yaml", "--set", "trajectories.seed=1")
    assert changed.exit_code == 1
    assert "seed: was 0, is 1" in changed.stderr
    assert "--fork NAME" in changed.stderr
    other = call("trajectories", "r.yaml", "--set", "trajectories.seed=1", "--fork", "other")
    assert "none of its samples is of the same request; seed: was 0, is 1" in other.stdout
    more = call("trajectories", "r.yaml", "--set", "trajectories.samples_per_problem=6", "--fork", "more")
    assert more.exit_code == 0
    assert "120 samples taken from runs/r, 0 were there" in more.stdout
    with Journal(tmp_path / "runs/more/trajectories/journal.jsonl", samples.JOURNALED) as journal:
        assert journal.scan().collect()["drawn_from"].value_counts(sort=True).rows() == [("runs/r", 120), (None, 60)]
    itself = call("trajectories", "r.yaml", "--fork", "r")
    assert itself.exit_code == 1
    assert "is the run itself" in itself.stderr
