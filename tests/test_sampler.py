"""Nothing finished is asked twice, nothing is lost, and settings are never mixed."""

import random
from contextlib import suppress
from itertools import islice

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill import samples
from distill.engines import Completion, EngineError
from distill.engines.scripted import ScriptedEngine
from distill.journal import Journal
from distill.ledger import Counts, Ledger
from distill.opinion import Opinion
from distill.progress import Silent
from distill.recipe.trajectories import Generation, Until
from distill.sampler import sample
from distill.scheduler import Scheduler, beta_below
from distill.store import RunError

PROBLEMS = pl.DataFrame({"problem_id": ["a", "b", "c"], "problem": ["1 + 1?", "2 + 2?", "3 + 3?"]})
SETTINGS = Generation(samples_per_problem=2, temperature=0.5)


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


class Counting:
    """Answers with the request's seed and counts what it is asked."""

    def __init__(self, *, stop_after: int | None = None, fail: tuple[str, ...] = ()):
        self.asked: list[str] = []
        self.stop_after, self.fail = stop_after, fail

    def __call__(self, request):
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(request.request_id)
        if request.request_id in self.fail:
            return Completion(request.request_id, "", "failed:server_gone", 0, 0)
        return f"<think>\n{request.seed}\n</think>\n\n\\boxed{{\ud800\x00}}"


def draw(folder, answer, problems=PROBLEMS, settings=SETTINGS, ledger=None, progress=None, **engine):
    with ScriptedEngine(answer, name="script", **engine) as opened:
        return sample(opened, problems, settings, folder, name="t", progress=progress or Silent(), ledger=ledger)


def test_rows_are_in_the_order_of_problems_and_samples_whatever_finishes_first(tmp_path):
    table = draw(tmp_path, Counting(), in_flight=4)
    assert table.select("problem_id", "sample").rows() == [(p, n) for p in "abc" for n in range(2)]
    assert table["text"].n_unique() == 6
    assert table.equals(draw(tmp_path / "other", Counting(), in_flight=1))


def test_text_that_json_cannot_carry_is_replaced(tmp_path):
    assert draw(tmp_path, Counting())["text"].str.contains("\ufffd", literal=True).all()


def test_samples_damaged_on_disk_while_sampling_are_missed_and_asked_again(tmp_path):
    many, again = SETTINGS.model_copy(update={"samples_per_problem": 200}), Counting()
    answer, path = Counting(), tmp_path / "journal.jsonl"

    def damage(request):
        if len(answer.asked) == 150:
            lines = path.read_bytes()
            path.write_bytes(b"x" + lines[1:])
        return answer(request)

    with pytest.raises(RunError, match="1 samples were damaged"):
        draw(tmp_path, damage, PROBLEMS.head(1), many)
    assert draw(tmp_path, again, PROBLEMS.head(1), many).height == 200
    assert len(again.asked) == 1


def test_nothing_is_asked_twice_and_k_can_grow_and_shrink(tmp_path):
    first, again, more, fewer = Counting(), Counting(), Counting(), Counting()
    two = draw(tmp_path, first)
    assert draw(tmp_path, again).equals(two)
    four = draw(tmp_path, more, settings=SETTINGS.model_copy(update={"samples_per_problem": 4}))
    assert draw(tmp_path, fewer).equals(two)
    assert (len(first.asked), again.asked, fewer.asked) == (6, [], [])
    assert sorted(more.asked) == ["a#2", "a#3", "b#2", "b#3", "c#2", "c#3"]
    assert four.filter(pl.col("sample") < 2).equals(two)


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path, Counting(stop_after=4))
    rest = Counting()
    assert draw(tmp_path, rest).equals(draw(tmp_path / "undisturbed", Counting()))
    assert len(rest.asked) == 2


def test_failures_are_rows_and_are_asked_again(tmp_path):
    table = draw(tmp_path, Counting(fail=("b#1",)))
    assert table.filter(pl.col("finish_reason") != "stop").select("problem_id", "sample", "finish_reason").rows() == [
        ("b", 1, "failed:server_gone")
    ]
    again = Counting()
    assert (draw(tmp_path, again)["finish_reason"] == "stop").all()
    assert again.asked == ["b#1"]


@settings(max_examples=20)
@given(stop_after=st.integers(0, 6), fail=st.sets(st.sampled_from(["a#0", "b#1", "c#1"])), in_flight=st.integers(1, 4))
def test_requested_is_ok_and_failed_and_pending_whenever_it_stops(tmp_path_factory, stop_after, fail, in_flight):
    folder = tmp_path_factory.mktemp("run")
    for stop in (stop_after, None, None):
        ledger, heard = Ledger(), Heard()
        answer = Counting(stop_after=stop, fail=tuple(fail))
        with suppress(KeyboardInterrupt):
            draw(folder, answer, in_flight=in_flight, ledger=ledger, progress=heard)
        with Journal(folder / "journal.jsonl", samples.JOURNALED) as journal:
            rows = journal.scan().collect().unique(["problem_id", "sample"], keep="last")
        failed = rows["finish_reason"].str.starts_with("failed").sum()
        assert ledger.counts == Counts(ok=rows.height - failed, failed=failed, pending=6 - rows.height)
        assert ledger.counts.requested == 6
        assert (heard.lines == [f"  t: {ledger.counts}"]) == (stop is not None and len(answer.asked) < 6)
    assert ledger.counts.pending == 0


def test_an_engine_that_dies_leaves_the_count(tmp_path):
    class Dying(ScriptedEngine):
        def complete(self, requests, doomed=None):
            yield from islice(super().complete(requests), 2)
            raise EngineError("the GPU is gone")

    heard, ledger = Heard(), Ledger()
    with Dying(Counting(), name="script") as engine, pytest.raises(EngineError, match="the GPU is gone"):
        sample(engine, PROBLEMS, SETTINGS, tmp_path, name="t", progress=heard, ledger=ledger)
    assert heard.lines == ["  t: requested 6 = 2 ok + 0 failed + 4 pending"]


def test_a_changed_problem_is_asked_anew_and_a_removed_one_is_left_out(tmp_path):
    draw(tmp_path, Counting())
    changed = PROBLEMS.with_columns(problem=pl.col("problem").replace("2 + 2?", "2 - 2?"))[:2]
    again = Counting()
    assert draw(tmp_path, again, changed)["problem_id"].unique(maintain_order=True).to_list() == ["a", "b"]
    assert again.asked == ["b#0", "b#1"]


@pytest.mark.parametrize(
    ("update", "field"),
    [
        ({"temperature": 0.7}, "temperature: was 0.5, is 0.7"),
        ({"instruction": "Think."}, "instruction"),
        ({"seed": 1}, "seed"),
    ],
)
def test_changed_settings_in_an_old_folder_are_an_error_that_names_them(tmp_path, update, field):
    before = draw(tmp_path, Counting())
    with pytest.raises(RunError, match=field):
        draw(tmp_path, Counting(), settings=SETTINGS.model_copy(update=update))
    assert draw(tmp_path, Counting()).equals(before)


def test_another_model_in_an_old_folder_is_an_error(tmp_path):
    draw(tmp_path, Counting())
    with pytest.raises(RunError, match="revision: was '1', is '2'"):
        draw(tmp_path, Counting(), version="2")


def test_an_argument_of_the_engine_that_changes_samples_is_compared_and_no_other(tmp_path):
    def drawn(**args):
        engine = ScriptedEngine(Counting(), name="script")
        engine.identity = {**engine.identity, "engine": "another", "args": args}
        return sample(engine, PROBLEMS, SETTINGS, tmp_path, name="t", progress=Silent())

    before = drawn(extra_body={"top_k": 5})
    assert drawn(extra_body={"top_k": 5}).equals(before)
    with pytest.raises(RunError, match=r"engine_args\.extra_body: was \{'top_k': 5\}, is \{'top_k': 6\}"):
        drawn(extra_body={"top_k": 6})
    with pytest.raises(RunError, match=r"engine_args\.extra_body: was \{'top_k': 5\}, is None"):
        drawn()


def test_an_engine_that_leaves_requests_unanswered_is_an_error(tmp_path):
    class Lazy(ScriptedEngine):
        def complete(self, requests, doomed=None):
            yield from list(super().complete(requests))[:-1]

    with (
        Lazy(Counting(), name="script") as engine,
        pytest.raises(RunError, match="left 1 requests unanswered, the first is c#1"),
    ):
        sample(engine, PROBLEMS, SETTINGS, tmp_path, name="t", progress=Silent())


def solves(request) -> bool:
    """Whether a request's sample is right: problem b seldom, c never."""
    share = {"a": 0.7, "b": 0.3, "c": 0.0}[request.request_id[0]]
    return random.Random(request.seed).random() < share


def answers(request) -> str:
    return f"<think>\n{request.seed}\n</think>\n\n{'right' if solves(request) else 'wrong'}"


class Noting(Counting):
    """Answers, and notes what it was asked."""

    def __init__(self, stop_after=None):
        super().__init__(stop_after=stop_after)

    def __call__(self, request):
        super().__call__(request)
        return answers(request)


def accepts(completions: pl.DataFrame) -> list[bool]:
    return completions["text"].str.ends_with("right").to_list()


def opinions(completions: pl.DataFrame) -> list[Opinion]:
    return [Opinion(accepted) for accepted in accepts(completions)]


def accepted_until(folder, until, *, answer=answers, in_flight=3):
    with ScriptedEngine(answer, name="script", in_flight=in_flight) as opened:
        return sample(
            opened, PROBLEMS, SETTINGS, folder, name="t", progress=Silent(), until=Until(**until), accepts=opinions
        )


UNTIL = {"accepted": 2, "max_samples": 12}


def test_a_problem_is_asked_until_enough_is_accepted(tmp_path):
    noting = Noting()
    table = accepted_until(tmp_path, UNTIL, answer=noting)
    for problem_id in "abc":
        rows = table.filter(pl.col("problem_id") == problem_id)
        right = accepts(rows)
        assert rows["sample"].to_list() == list(range(len(rows)))
        assert sum(right) == 2 and right[-1] if len(rows) < 12 else sum(right[:-1]) < 2
    assert len(noting.asked) == len(table)  # nothing is asked that may turn out not to be needed


@pytest.mark.parametrize("in_flight", [1, 2, 7])
def test_what_finishes_first_does_not_matter(tmp_path, in_flight):
    table = accepted_until(tmp_path, UNTIL, in_flight=in_flight)
    assert table.equals(accepted_until(tmp_path / "other", UNTIL | {"ahead": 5}, in_flight=5))


def test_it_goes_on_where_it_was_interrupted_and_with_other_limits(tmp_path):
    undisturbed = accepted_until(tmp_path / "undisturbed", UNTIL)
    for stop_after in (1, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            accepted_until(tmp_path, UNTIL, answer=Noting(stop_after))
    assert accepted_until(tmp_path, UNTIL).equals(undisturbed)
    noting = Noting()
    more = accepted_until(tmp_path, UNTIL | {"accepted": 3}, answer=noting)
    assert len(more) == len(undisturbed) + len(noting.asked)
    assert accepted_until(tmp_path, UNTIL).equals(undisturbed)


def test_a_hopeless_problem_is_given_up(tmp_path):
    table = accepted_until(tmp_path, UNTIL | {"max_samples": 60, "give_up_below": 0.1})
    # 28 failures of 28 leave a probability of 0.95 that the rate is below 0.1.
    assert table.filter(pl.col("problem_id") == "c").height == 28


def test_the_posterior_is_that_of_a_beta_variable():
    assert beta_below(1, 1, 0.3) == pytest.approx(0.3)
    assert beta_below(1, 29, 0.1) == pytest.approx(1 - 0.9**29)
    drawn = [random.Random(seed).betavariate(3, 6) < 0.25 for seed in range(20_000)]
    assert beta_below(3, 6, 0.25) == pytest.approx(sum(drawn) / len(drawn), abs=0.01)


verdicts = st.lists(st.booleans(), min_size=8, max_size=8)
keys = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=6)


@given(st.lists(verdicts, max_size=5), keys, st.integers(1, 4), st.integers(0, 3), st.randoms())
def test_the_scheduler_asks_for_what_is_needed_in_any_order_of_verdicts(problems, before, accepted, ahead, chance):
    scheduler = Scheduler(map(str, range(len(problems))), Until(accepted=accepted, max_samples=8, ahead=ahead))
    before = [(str(problem), number) for problem, number in before if problem < len(problems)]
    for problem, number in before:  # of an interrupted run
        scheduler.judged(problem, number, problems[int(problem)][number])
    in_flight, asked = [], []
    while scheduler.open:
        while (key := scheduler.next()) is not None:
            assert key not in [*asked, *before]
            asked.append(key)
            in_flight.append(key)
        assert in_flight, "nothing in flight and nothing to ask: it would wait for ever"
        problem, number = in_flight.pop(chance.randrange(len(in_flight)))
        scheduler.judged(problem, number, problems[int(problem)][number])
    for number, right in enumerate(problems):
        enough = [n for n in range(1, 9) if sum(right[:n]) >= accepted]
        assert scheduler.drawn(str(number)) == (enough or [8])[0]
        assert sum(p == str(number) and n >= scheduler.drawn(p) for p, n in asked) <= ahead
