"""Doomed samples are ended while they are written; what is not doomed is left as it is, and all is counted once."""

import random

import polars as pl
import pytest
from test_sampler import Heard

from distill.chat import THINK_OPEN
from distill.doom import lets_run, repeats_itself
from distill.engines.scripted import ScriptedEngine
from distill.ledger import Ledger
from distill.recipe.abort import Abort
from distill.recipe.trajectories import Trajectories, Until
from distill.sampler import sample
from distill.spared import ended_early, said
from distill.trajectories import accepted_by

ASKED = "What is the sum of the two numbers, if we add the first of them to the other one?"
PROBLEMS = pl.DataFrame({"problem_id": ["a", "b", "c"], "problem": [f"{ASKED} ({n})" for n in "abc"]})
THOUGHT = [
    "So", "we", "add", "the", "first", "number", "to", "that", "of", "this", "line", "and", "then", "it", "is", "so",
    "much", "that", "no", "one", "could", "say", "what", "will", "be", "of", "it", "in", "the", "end", "because",
]  # fmt: skip
TEXTS = {
    "plain": lambda n: " ".join(f"{word} {i}" for i, word in enumerate(random.Random(n).choices(THOUGHT, k=400))),
    "loops": lambda n: " ".join(f"{THOUGHT[i % 30]} {i}" for i in range(n)) + " Wait, let me check this again." * 200,
    "table": lambda n: "\n".join(f"Case {i}: x = {i} gives {i * i}, which is not it." for i in range(100)),
    "french": lambda n: (
        "Let us see what we have here and add it. " * 3
        + " ".join(f"Nous avons donc trouvé que la somme des {i} nombres est égale à {i * i}." for i in range(90))
    ),
    "quotes": lambda n: f"{TEXTS['plain'](n)} They say “la somme est donc égale à quarante”. {TEXTS['plain'](n)}",
    "once": lambda n: f"{TEXTS['plain'](n)}. Nous avons trouvé que la somme est égale à quarante. {TEXTS['plain'](n)}",
}


class Writer(ScriptedEngine):
    """Writes one of the texts for each problem, and notes what it is asked."""

    def __init__(self, texts, in_flight=3, stop_after=None):
        self.texts, self.asked, self.stop_after = texts, [], stop_after
        super().__init__(self.answer, name="writer", in_flight=in_flight)

    def answer(self, request):
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(request)
        problem_id, number = request.request_id.rstrip("+").split("#")
        return f"{THINK_OPEN}\n{TEXTS[self.texts[problem_id]](int(number))}\n</think>\n\nIt is \\boxed{{4}}."


def draw(folder, texts, abort=None, engine=None, samples=2, max_tokens=2000, **more):
    section = Trajectories(teacher="writer", samples_per_problem=samples, max_tokens=max_tokens, abort=abort)
    ledger = more.setdefault("ledger", Ledger())
    settings = more.pop("settings", section)
    with engine or Writer(texts) as opened:
        table = sample(opened, PROBLEMS, settings, folder, name="t", progress=Heard(), abort=abort, **more)
    return table, ledger


ALL = {"a": "plain", "b": "loops", "c": "french"}
EVERY = Abort(let_run_share=0.0)


def test_a_doomed_sample_is_ended_where_it_is_seen_and_the_others_are_left_alone(tmp_path):
    whole, paid = draw(tmp_path / "whole", ALL)
    ended, paid_early = draw(tmp_path / "ended", ALL, EVERY)
    reasons = dict(ended.select("problem_id", "finish_reason").iter_rows())
    assert reasons == {"a": "stop", "b": "aborted:loop", "c": "aborted:language"}
    assert ended.filter(pl.col("problem_id") == "a").equals(whole.filter(pl.col("problem_id") == "a"))
    assert ended["doomed"].to_list() == [None, None, "loop", "loop", "language", "language"]
    early = ended.drop_nulls("doomed")
    assert (early["doomed_at"] == early["completion_tokens"]).all()
    assert (early["completion_tokens"] <= 576).all()
    assert all(text.startswith(cut) for text, cut in zip(whole["text"], ended["text"], strict=True))
    assert paid_early.spent.completion_tokens == ended["completion_tokens"].sum() < paid.spent.completion_tokens / 2
    assert str(paid_early.counts) == "requested 6 = 6 ok + 0 failed + 0 pending"


@pytest.mark.parametrize("text", ["plain", "table", "quotes"])
def test_what_the_filters_keep_is_not_ended(tmp_path, text):
    table, _ = draw(tmp_path, dict.fromkeys("abc", text), EVERY, samples=4)
    assert set(table["finish_reason"]) == {"stop"}


@pytest.mark.parametrize(("max_tokens", "finish"), [(2_000, "aborted:language"), (60_000, "stop")])
def test_a_sentence_dooms_where_the_rest_of_the_budget_cannot_make_up_for_it(tmp_path, max_tokens, finish):
    table, _ = draw(tmp_path, dict.fromkeys("abc", "once"), EVERY, max_tokens=max_tokens)
    assert set(table["finish_reason"]) == {finish}


def test_a_budget_ends_reasoning_that_goes_on(tmp_path):
    table, _ = draw(tmp_path, ALL, Abort(loop=False, language=False, think_tokens=640, let_run_share=0.0))
    assert dict(table.select("problem_id", "finish_reason").iter_rows())["a"] == "aborted:budget"
    assert set(table.drop_nulls("doomed")["doomed_at"]) == {640}


def test_what_is_ended_depends_on_neither_neighbours_nor_interruptions(tmp_path):
    undisturbed = draw(tmp_path / "once", ALL, Abort(let_run_share=0.5), samples=6)[0]
    assert undisturbed.equals(draw(tmp_path / "one", ALL, Abort(let_run_share=0.5), Writer(ALL, 1), samples=6)[0])
    for stop_after in (5, 8):
        with pytest.raises(KeyboardInterrupt):
            draw(tmp_path / "run", ALL, Abort(let_run_share=0.5), Writer(ALL, stop_after=stop_after), samples=6)
    table, ledger = draw(tmp_path / "run", ALL, Abort(let_run_share=0.5), samples=6)
    assert table.equals(undisturbed)
    assert ledger.spent.completion_tokens == table["completion_tokens"].sum()


def test_some_are_let_run_and_say_what_the_others_would_have_been(tmp_path):
    abort = Abort(let_run_share=0.3)
    whole = draw(tmp_path / "whole", ALL, samples=20)[0]
    table = draw(tmp_path / "ended", ALL, abort, samples=20)[0]
    runs_on = pl.Series([lets_run(abort, 0, key) for key in table.select("problem_id", "sample").iter_rows()])
    assert 5 < runs_on.sum() < 30
    same = pl.Series([*map(str.__eq__, table["text"], whole["text"])])
    assert same.equals(runs_on | (table["problem_id"] == "a"))
    accepted = table["sample"] % 2 == 0
    facts = ended_early(table.with_columns(accepted=accepted))
    let_run = table.filter(runs_on & (table["problem_id"] != "a"))
    assert sum(facts[why]["let_run"] for why in ("loop", "language")) == let_run.height
    assert sum(facts[why]["accepted"] for why in ("loop", "language")) == (let_run["sample"] % 2 == 0).sum()
    lost = whole["completion_tokens"].sum() - table["completion_tokens"].sum()
    assert facts["tokens_saved"] == pytest.approx(lost, rel=0.02)
    assert f"{let_run.height} more were let run" in said(facts)
    assert ended_early(whole.with_columns(accepted=True)) is None


def test_a_rule_that_is_switched_off_has_its_samples_asked_again_and_no_others(tmp_path):
    draw(tmp_path, ALL, EVERY)
    without_loops, engine = Abort(loop=False, let_run_share=0.0), Writer(ALL)
    table, ledger = draw(tmp_path, ALL, without_loops, engine)
    assert {request.request_id for request in engine.asked} == {"b#0", "b#1"}
    assert table.filter(pl.col("problem_id") == "b")["finish_reason"].to_list() == ["stop", "stop"]
    assert ledger.spent.samples == 8
    for abort, again in ((EVERY, 0), (None, 2), (EVERY, 0)):
        engine = Writer(ALL)
        table = draw(tmp_path, ALL, abort, engine)[0]
        assert len(engine.asked) == again
    assert set(table["finish_reason"]) == {"stop"}, "samples that ran to their end are the same with every rule"


def test_a_smaller_budget_keeps_what_a_larger_one_has_ended(tmp_path):
    for think_tokens, asked in ((640, 6), (320, 0), (704, 6)):
        engine = Writer(ALL)
        draw(tmp_path, ALL, Abort(loop=False, language=False, think_tokens=think_tokens, let_run_share=0.0), engine)
        assert len(engine.asked) == asked


def test_another_run_gives_what_it_has_ended_by_the_same_rules(tmp_path):
    theirs = draw(tmp_path / "first" / "trajectories", ALL, EVERY)[0]
    for abort, asked in ((EVERY, 0), (None, 4)):
        engine = Writer(ALL)
        table = draw(tmp_path / f"with {asked}", ALL, abort, engine, draw_on=[str(tmp_path / "first")])[0]
        assert len(engine.asked) == asked
        assert table.equals(theirs) == (asked == 0)


def test_both_parts_of_a_cut_sample_are_looked_at_and_counted_once(tmp_path):
    section = Trajectories(teacher="t", samples_per_problem=2, max_tokens=300, on_length={"continue": 1700})
    plain = draw(tmp_path / "plain", ALL, settings=section)[0]
    table, ledger = draw(tmp_path / "ended", ALL, EVERY, settings=section)
    assert dict(table.select("problem_id", "finish_reason").iter_rows()) == {
        "a": "stop", "b": "aborted:loop", "c": "aborted:language"
    }  # fmt: skip
    assert table.filter(pl.col("problem_id") == "a").equals(plain.filter(pl.col("problem_id") == "a"))
    second = table.filter(pl.col("problem_id") == "c")
    assert second["continued_at"].to_list() == [300, 300]
    assert (second["doomed_at"] == second["completion_tokens"]).all()
    assert ledger.spent.completion_tokens == table["completion_tokens"].sum()
    assert draw(tmp_path / "ended", ALL, EVERY, Writer(ALL, stop_after=0), settings=section)[0].equals(table)


def test_what_was_ended_is_never_accepted(tmp_path):
    problems = PROBLEMS.with_columns(pl.lit(None).alias(n) for n in ("reference_answer", "domain", "source", "split"))
    from filters.length import Length

    section = Trajectories(teacher="writer", until=Until(accepted=1, max_samples=3), max_tokens=2000, abort=EVERY)
    accepts = accepted_by([Length()], problems, "writer", section)
    table = draw(tmp_path, ALL, EVERY, until=section.until, accepts=accepts, settings=section)[0]
    assert table["problem_id"].to_list() == ["a", *"bbb", *"ccc"]


LOOPS = [
    ("x" * 100, True), ("ab" * 60, True), ("".join(map(chr, range(200))), False),
    ("".join(map(chr, range(100))) + "abcdefghij" * 8, True),
    ("".join(map(chr, range(100))) + "abcdefghij" * 3, False),
    (("abcdefgh_" * 3 + "".join(map(chr, range(300, 340)))) * 4, True),
    ("x" * 30, False), ("", False),
]  # fmt: skip


@pytest.mark.parametrize(("symbols", "loop"), LOOPS)
def test_a_loop_is_suspected_by_the_distance_at_which_a_text_repeats_itself(symbols, loop):
    assert repeats_itself(symbols) == loop
