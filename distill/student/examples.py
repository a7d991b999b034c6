"""What the run has for an arm to learn from: chats of kept rows, pairs of a right and a wrong answer, problems.

Does not tokenise.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from distill import hub
from distill.chat import join_completion, user_message
from distill.recipe.methods import Dpo, Reward
from distill.recipe.student import Arm
from distill.schema import PROBLEM, VERIFIER_INPUT
from distill.store import Run, RunError, digest
from distill.student.rows import Chat
from filters import Filter, kept, preference_pairs, through


def chats(run: Run, arm: Arm) -> list[Chat]:
    """Prompt and completion, as messages, of the rows that an arm is trained on."""
    if arm.rows == "kept":
        return list(hub.load_rows(run.path("dataset"), "prompt_completion"))
    judged = run.judged()
    table = judged if arm.rows == "sampled" else through(judged, arm.rows)
    instructions = run.recipe.instructions
    return [
        _chat(user_message(problem, instructions[effort]), reasoning, response)
        for problem, reasoning, response, effort in table.select(
            "problem", "reasoning", "response", "effort"
        ).iter_rows()
    ]


def pairs(run: Run, arm: Arm) -> tuple[list[tuple[Chat, Chat]], dict[str, Any]]:
    """Of each problem a right and a wrong answer, to the same prompt; and by what policy which pairs were made.

    Pairs stand within one level of effort.
    """
    settings, verifier, instructions = arm.dpo or Dpo(), run.recipe.pair_verifier(arm), run.recipe.instructions
    assert verifier is not None
    policy = {"verifier": verifier, "per_problem": settings.pairs_per_problem, "chosen": "kept", "nearest": "tokens"}
    tables = []
    found: list[tuple[Chat, Chat]] = []
    for (effort,), judged in run.judged().partition_by("effort", as_dict=True, maintain_order=True).items():
        table = preference_pairs(judged, verifier=verifier, per_problem=settings.pairs_per_problem)
        tables.append(table.with_columns(effort=pl.lit(effort, pl.String)))
        for row in table.iter_rows(named=True):
            asked = user_message(row["problem"], instructions[effort])
            right = _chat(asked, row["chosen_reasoning"], row["chosen_response"])
            found.append((right, _chat(asked, row["rejected_reasoning"], row["rejected_response"])))
    if not found:
        raise RunError(
            f"no preference pairs: there is no problem of which one sample is kept by the whole chain and another is "
            f"rejected by {verifier}"
        )
    made = pl.concat(tables)
    return found, {"policy": policy, "count": made.height, "digest": digest(made.rows())}


@dataclass(frozen=True)
class Asked:
    """What a student answers while it is trained, and how it is asked."""

    problems: pl.DataFrame
    """The columns of problems, a row each."""
    instruction: str
    open_think: bool
    rewards: dict[str, tuple[Filter, Reward]]
    """Name to filter and reward; empty where nothing rewards."""


def asked(run: Run, arm: Arm) -> Asked:
    """The problems of an arm's rows, as the recipe's trajectories are asked for."""
    recipe = run.recipe
    if arm.rows == "problems":
        table = run.problems("train")
    else:
        judged = run.judged()
        table = judged if arm.rows == "sampled" else kept(judged) if arm.rows == "kept" else through(judged, arm.rows)
        table = table.unique("problem_id", keep="first", maintain_order=True)
    columns = [name for name in (*PROBLEM, *VERIFIER_INPUT) if name in table.columns and name != "split"]
    if table.is_empty():
        raise RunError(f"there is no problem to train on: rows: {arm.rows} has none")
    rewards = arm.grpo.reward_filters(recipe.verdicts) if arm.grpo else {}
    return Asked(table.select(columns), recipe.instructions[None], recipe.trajectories.open_think, rewards)


def _chat(asked: dict[str, str], reasoning: str | None, response: str) -> dict[str, Any]:
    answer = {"role": "assistant", "content": join_completion(reasoning, response)}
    return {"prompt": [asked], "completion": [answer]}
