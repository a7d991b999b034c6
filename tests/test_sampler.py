"""Nothing finished is asked twice, nothing is lost, and settings are never mixed."""

import polars as pl
import pytest

from distill.engines import Completion
from distill.engines.scripted import ScriptedEngine
from distill.progress import Silent
from distill.recipe import Generation
from distill.sampler import sample
from distill.store import RunError

PROBLEMS = pl.DataFrame({"problem_id": ["a", "b", "c"], "problem": ["1 + 1?", "2 + 2?", "3 + 3?"]})
SETTINGS = Generation(samples_per_problem=2, temperature=0.5)


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


def draw(folder, answer, problems=PROBLEMS, settings=SETTINGS, **engine):
    with ScriptedEngine(answer, name="script", **engine) as opened:
        return sample(opened, problems, settings, folder, name="t", progress=Silent())


def test_rows_are_in_the_order_of_problems_and_samples_whatever_finishes_first(tmp_path):
    table = draw(tmp_path, Counting(), in_flight=4)
    assert table.select("problem_id", "sample").rows() == [(p, n) for p in "abc" for n in range(2)]
    assert table["text"].n_unique() == 6
    assert table.equals(draw(tmp_path / "other", Counting(), in_flight=1))


def test_text_that_json_cannot_carry_is_replaced(tmp_path):
    assert draw(tmp_path, Counting())["text"].str.contains("\ufffd", literal=True).all()


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


def test_an_engine_that_leaves_requests_unanswered_is_an_error(tmp_path):
    class Lazy(ScriptedEngine):
        def complete(self, requests):
            yield from list(super().complete(requests))[:-1]

    with Lazy(Counting(), name="script") as engine, pytest.raises(RunError, match="1 of 6 requests unanswered"):
        sample(engine, PROBLEMS, SETTINGS, tmp_path, name="t", progress=Silent())
