"""Problems without a reference are sampled until their samples agree, and no longer."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sampler import Heard

from distill import trajectories
from distill.engines.scripted import ScriptedEngine
from distill.recipe.file import RecipeError, load_recipe
from distill.recipe.trajectories import Trajectories
from distill.run import make, open_run
from distill.sampler import sample
from distill.trajectories import accepted_by
from distill.vote import Ballot, agreeing, most_alike
from filters._votes import with_votes
from filters.format import Format

ANSWERS = {"a": "77777777", "b": "7373737373", "c": "12345678", "d": "1222222", "e": "77 77777"}
"""What the samples of each problem answer, one after the other; a space is no answer."""
PROBLEMS = pl.DataFrame(
    {"problem_id": [*ANSWERS], "problem": [*ANSWERS], "reference_answer": None},
    schema_overrides={"reference_answer": pl.String},
).with_columns(pl.lit("math").alias(name) for name in ("domain", "source", "split"))
BALLOTS = st.lists(st.builds(Ballot, st.sampled_from(["1", "2", "3", None]), st.none()), min_size=1, max_size=12)
SCORED = st.lists(st.builds(Ballot, st.sampled_from(["1", "2", None]), st.floats(-40, 40)), min_size=1, max_size=12)


@given(BALLOTS | SCORED, st.sampled_from([0.0, 1.0, 1.5, 2.0]))
def test_votes_are_counted_as_by_the_filter_majority(ballots, min_lead):
    table = pl.DataFrame(ballots, schema={"answer": pl.String, "reward": pl.Float64}, orient="row")
    logistic = 1 / (1 + (-pl.col("reward").clip(-30, 30)).exp())
    scored = table["reward"].is_not_null().all()
    voted = with_votes(table.with_columns(problem_id=pl.lit("p")), logistic if scored else pl.lit(1.0))
    stable = voted["majority"][0] is not None and voted["lead"][0] >= min_lead
    assert agreeing(ballots, min_lead) == ((table["answer"] == voted["majority"][0]).sum() if stable else 0)
    assert agreeing(ballots, min_lead) <= most_alike(ballots) or scored


def answer(request):
    problem, _, number = request.request_id.partition("#")
    said = ANSWERS[problem][int(number)]
    return "<think>\nHm.\n</think>\n\n" + (f"\\boxed{{{said}}}" if said != " " else "I do not know.")


def draw(folder, in_flight=2, stop_after=None, **until):
    asked = []

    def counted(request):
        if len(asked) == stop_after:
            raise KeyboardInterrupt
        asked.append(request.request_id)
        return answer(request)

    until = {"accepted": 3, "max_samples": 7, "vote": {}} | until
    section = Trajectories(teacher="t", until=until)
    accepts = accepted_by([Format()], PROBLEMS, "t", section)
    with ScriptedEngine(counted, name="t", in_flight=in_flight) as engine:
        table = sample(
            engine, PROBLEMS, section, folder, name="t", progress=Heard(), until=section.until, accepts=accepts
        )
    return dict(table.group_by("problem_id", maintain_order=True).len().iter_rows()), asked


def test_a_problem_is_asked_until_its_samples_agree(tmp_path):
    drawn, asked = draw(tmp_path)
    # 3 alike lead by 1.7; b stays near a tie and c never agrees; d needs 4 against 1 (1.3), 5 against 1 (1.6)
    assert drawn == {"a": 3, "b": 7, "c": 7, "d": 6, "e": 4}
    assert len(asked) == sum(drawn.values())
    assert draw(tmp_path / "sure", vote={"min_lead": 2.0})[0]["a"] == 4


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    asked = []
    for stop_after in (2, 9, 5):
        with pytest.raises(KeyboardInterrupt):
            draw(tmp_path, stop_after=stop_after)
    drawn, asked = draw(tmp_path, in_flight=5)
    assert drawn == draw(tmp_path / "other", in_flight=1)[0]
    assert len(asked) == sum(drawn.values()) - 16


def test_the_chain_keeps_those_that_agree_and_the_card_says_how_they_were_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "_open", lambda *arguments: ScriptedEngine(answer, name="t"))
    rows = [{"problem_id": name, "problem": name} for name in ANSWERS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text(
        f"problems: {{path: {tmp_path}/rows.jsonl}}\n"
        "trajectories: {teacher: t, until: {accepted: 3, max_samples: 7, vote: {}}}\n"
        "verdicts: [format, majority: {min_samples: 3}]\ndataset: {license: mit}\n"
    )
    run = open_run(tmp_path / "r.yaml", runs=tmp_path)
    make(run, Heard())
    rows = pl.read_parquet(run.path("dataset", "default"))
    assert dict(rows.group_by(pl.col("id").str.head(1), maintain_order=True).len().iter_rows()) == {
        "a": 3,
        "d": 5,
        "e": 3,
    }
    card = run.path("dataset", "README.md").read_text()
    assert "| until 3 agreed, by a vote that led by 1.5 standard errors, at most 7 |" in card


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("until: {accepted: 2, max_samples: 4, give_up_below: 0.1, vote: {}}", "one of give_up_below and vote"),
        ("until: {accepted: 2, max_samples: 4, vote: {min_lead: -1}}", "found -1"),
        ("until: {accepted: 2, max_samples: 4, vote: {}}, refine: {}", "until.vote for others"),
    ],
)  # fmt: skip
def test_wrong_keys_are_explained(tmp_path, override, message):
    (tmp_path / "r.yaml").write_text(
        "problems: {arithmetic: {count: 2}}\ntrajectories: {teacher: t}\nverdicts: [format]\n"
    )
    with pytest.raises(RecipeError) as error:
        load_recipe(tmp_path / "r.yaml", (f"trajectories={{teacher: t, {override}}}",))
    assert message in str(error.value)
