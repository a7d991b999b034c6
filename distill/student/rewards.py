"""What filters say of a student's answers, as numbers for the trainer. Where a filter abstains there is no reward."""

import logging
from collections.abc import Callable
from typing import Any

import polars as pl

from distill.chat import clean_text, split_completions
from distill.recipe.methods import Reward
from distill.schema import PROBLEM, VERIFIER_INPUT
from distill.student.base import Base
from filters import Filter

RewardFunction = Callable[..., list[float | None]]

COLUMNS = [*PROBLEM, *VERIFIER_INPUT]


def reward_functions(rewards: dict[str, tuple[Filter, Reward]], start: Base) -> list[RewardFunction]:
    """A function for each reward, as TRL calls it: of answers in, a number for each out, None for no reward at all.

    An answer on which the filter abstains gets the mean of the others to the same problem: with it, TRL's sum and
    baseline are what they are without that answer, whereas None would count as 0 in a sum of several rewards. None is
    left where the filter abstains on all of them.
    """
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(_hides_texts)
    return [_function(name, filter, reward, start) for name, (filter, reward) in rewards.items()]


def judge(answers: pl.DataFrame, filter: Filter, reward: Reward) -> pl.Series:
    """The reward of each answer, null where the filter abstains or the problem is not of the reward's domains."""
    verdicts = filter.verdicts(answers).to_series().struct.unnest()
    outcome = pl.col("outcome").cast(pl.String)
    value = pl.col("score") if reward.by == "score" else (outcome == "keep").cast(pl.Float64)
    looked_at = pl.col("domain").is_in(reward.domains) if reward.domains else pl.lit(True)
    value = pl.when((outcome != "abstain") & looked_at & value.is_finite()).then(value)
    return verdicts.with_columns(answers["domain"]).select(reward=value).to_series()


def neutral(rewards: pl.Series, groups: pl.Series) -> pl.Series:
    """Rewards whose nulls are the mean of their group; null where all of a group is."""
    table = pl.DataFrame({"reward": rewards, "group": groups})
    return table.select(pl.col("reward").fill_null(pl.col("reward").mean().over("group"))).to_series()


def answers_table(completion_ids: list[list[int]], start: Base, columns: dict[str, list[Any]]) -> pl.DataFrame:
    """Answers with the columns of trajectories that filters read."""
    stops = {*start.stops, start.tokenizer.eos_token_id}
    ended = [bool(ids) and ids[-1] in stops for ids in completion_ids]
    texts = [
        opening + start.tokenizer.decode(ids[:-1] if end else ids, skip_special_tokens=True)
        for ids, end, opening in zip(completion_ids, ended, columns["opening"], strict=True)
    ]
    known = {name: pl.Series(columns[name], dtype=pl.String) for name in COLUMNS if name in columns}
    return pl.DataFrame(known).with_columns(
        split_completions(pl.Series([clean_text(text) for text in texts])),
        finish_reason=pl.Series(["stop" if end else "length" for end in ended]),
        completion_tokens=pl.Series([len(ids) for ids in completion_ids], dtype=pl.Int32),
    )


def _function(name: str, filter: Filter, reward: Reward, start: Base) -> RewardFunction:
    def function(
        *, completion_ids: list[list[int]], log_metric: Callable[[str, float], None], **columns: Any
    ) -> list[float | None]:
        answers = answers_table(completion_ids, start, columns)
        judged = judge(answers, filter, reward)
        log_metric(f"abstained/{name}", judged.null_count() / len(judged))
        return neutral(judged, answers["problem_id"]).to_list()

    function.__name__ = name
    return function


def _hides_texts(record: logging.LogRecord) -> bool:
    """TRL warns of an answer without any reward and writes prompt and answer to the terminal as they are."""
    return not record.getMessage().startswith("All reward functions returned None")
