"""The columns of each config of a published dataset.

Trainers guess the kind of a dataset from the names of its columns, so no config mixes `messages` with `prompt`,
`completion`, `text`, `labels`, `tools` or `conversations`. Reasoning travels inside `<think>` tags in the assistant's
content, the only carrier that TRL, axolotl and LLaMA-Factory all keep. Does not write files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

import filters
from distill.chat import THINK_CLOSE, THINK_OPEN
from distill.fates import fell
from distill.recipe import Recipe

VERDICT_COLUMNS = ("verdict_outcome", "verdict_filter", "verdict_reason", "verdict_score", "verdict_evidence")
"""What became of a sample, in plain text and a number."""

LOCAL_FOLDER = r"^(?:~|\.{0,2})/(?:[^@]*/)?"
"""The folders of a local path, which are not for publishing, before a name and perhaps its @revision."""

CONFIGS = ("default", "prompt_completion", "rollouts", "rejected")
"""The names of all `tables`."""

Instructions = Mapping[str | None, str]
"""What follows the problem in a prompt, for each level of effort and for none."""


def origin(rows: pl.DataFrame) -> list[str]:
    """The columns that say how rows came to be, as far as they say anything."""
    return [name for name in ("effort", "method", "parent") if rows[name].null_count() < rows.height]


def tables(judged: pl.DataFrame, kept: pl.DataFrame, recipe: Recipe) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each config and its rows, one after the other; a config without rows is left out."""
    yield "default", default(kept, recipe.instructions)
    yield "prompt_completion", prompt_completion(kept, recipe.instructions)
    yield "rollouts", rollouts(judged, recipe.verifier.name() if recipe.verifier else None)
    if recipe.dataset and recipe.dataset.rejected:
        fallen = rejected(judged, recipe.instructions)
        if not fallen.is_empty():
            yield "rejected", fallen


def default(kept: pl.DataFrame, instructions: Instructions) -> pl.DataFrame:
    """One row a trajectory: `messages` of a user's and an assistant's turn, and scalars."""
    return kept.select(
        pl.concat_list(_message("user", _question(instructions)), _message("assistant", _answer())).alias("messages"),
        _row_id().alias("id"),
        "problem",
        pl.col("reference_answer").alias("answer"),
        "source",
        "domain",
        pl.col("completion_tokens").alias("num_tokens"),
        "teacher",
        *origin(kept),
    )


def prompt_completion(kept: pl.DataFrame, instructions: Instructions) -> pl.DataFrame:
    """One row a trajectory, as two lists of messages: TRL then masks the prompt by itself."""
    return kept.select(
        pl.concat_list(_message("user", _question(instructions))).alias("prompt"),
        pl.concat_list(_message("assistant", _answer())).alias("completion"),
        _row_id().alias("id"),
    )


def rollouts(judged: pl.DataFrame, verifier: str | None) -> pl.DataFrame:
    """One row a problem, its samples in lists, kept or not; names as in open-r1/OpenR1-Math-220k where it has them.

    `correctness_<verifier>` is null for a sample that the verifier did not reach or could not decide. The `verdict_*`
    lists tell what became of each sample: its outcome, the filter if it was not kept, and reason, score and evidence.
    """
    in_lists = {
        "sample": pl.col("sample"),
        "generations": _answer(),
        "is_reasoning_complete": pl.col("reasoning").is_not_null(),
        "finish_reasons": pl.col("finish_reason"),
        "num_tokens": pl.col("completion_tokens"),
        "teacher": pl.col("teacher"),
        **{name: pl.col(name) for name in origin(judged)},
        **_decision(judged),
    }
    scalars = {"problem": "problem", "answer": "reference_answer", "source": "source", "domain": "domain"}
    correct = []
    if verifier is not None and f"verdict_{verifier}" in judged.columns:
        name = f"correctness_{'math_verify' if verifier == 'verify_math' else verifier}"
        outcome = pl.col(f"verdict_{verifier}").struct.field("outcome").cast(pl.String)
        in_lists[name] = outcome.replace_strict({"keep": True, "reject": False}, default=None, return_dtype=pl.Boolean)
        correct = [pl.col(name).list.sum().alias("correctness_count")]
    return (
        judged.select(pl.col("problem_id").alias("uuid"), *scalars.values(), **in_lists)
        .sort("sample", maintain_order=True)
        .group_by("uuid", maintain_order=True)
        .agg(*(pl.col(theirs).first().alias(ours) for ours, theirs in scalars.items()), *in_lists)
        .with_columns(correct)
        .sort("uuid")
    )


def rejected(judged: pl.DataFrame, instructions: Instructions) -> pl.DataFrame:
    """The trajectories that were not kept, as `default` has those that were, and the verdict that each fell by."""
    decided = judged.with_columns(**_decision(judged)).filter(pl.col("verdict_filter").is_not_null())
    return default(decided, instructions).hstack(decided.select(VERDICT_COLUMNS))


def _decision(judged: pl.DataFrame) -> dict[str, pl.Expr]:
    """The verdict of the first filter that did not keep the row; of the last filter if all of them did."""
    columns = filters.verdict_columns(judged)
    fields = ("outcome", "reason", "score", "evidence")
    found, last = fell(columns, *fields), pl.col(columns[-1]).struct
    outcome, *rest = (pl.coalesce(found[field], last.field(field)) for field in fields)
    names = found["filter"].cast(pl.String)
    return dict(zip(VERDICT_COLUMNS, (outcome.cast(pl.String), names, *rest), strict=True))


def llama_factory(name: str, repository: str | None) -> dict[str, Any]:
    """What LLaMA-Factory reads as `dataset_info.json`, from this folder or, if it is on the Hub, from there."""
    remote = {"hf_hub_url": repository, "subset": "default"} if repository else {}
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    return {
        name: {
            **remote,
            "file_name": "default",
            "formatting": "sharegpt",
            "split": "train",
            "columns": {"messages": "messages"},
            "tags": {**tags, "system_tag": "system"},
        }
    }


def _question(instructions: Instructions) -> pl.Expr:
    """The content of `chat.user_message`, by column."""
    said = {level: f"\n\n{text}" if text else "" for level, text in instructions.items()}
    return pl.concat_str("problem", pl.col("effort").replace_strict(said, return_dtype=pl.String))


def _answer() -> pl.Expr:
    """`chat.join_completion`, by column."""
    whole = pl.concat_str(pl.lit(f"{THINK_OPEN}\n"), "reasoning", pl.lit(f"\n{THINK_CLOSE}\n\n"), "response")
    return pl.when(pl.col("reasoning").is_null()).then("response").otherwise(whole)


def _message(role: str, content: pl.Expr) -> pl.Expr:
    return pl.struct(role=pl.lit(role), content=content)


def _row_id() -> pl.Expr:
    return pl.concat_str("problem_id", pl.lit("-"), "sample")
