"""Preference pairs from judged samples: of the same problem one that was kept and one that the verifier found wrong."""

import polars as pl

from filters._draw import draws
from filters._funnel import kept
from filters._verdict import FilterError

SIDES = ("sample", "reasoning", "response", "tokens")


def preference_pairs(
    judged: pl.DataFrame,
    *,
    verifier: str = "verify_math",
    per_problem: int = 1,
    unfinished: bool = False,
    seed: int = 0,
) -> pl.DataFrame:
    """Pairs for preference training (DPO and its kin) from a judged frame, in the order of the problems.

    Chosen is what every filter kept; rejected is what the verifier *rejected*: an abstention is not known to be wrong.
    Each chosen sample gets the rejected one nearest in length, so that the pairs do not teach length; no sample stands
    in two pairs.

        >>> judged = Chain([Format(), VerifyMath(), RejectionSampling(keep=2, by="random")]).judge(trajectories)
        >>> preference_pairs(judged, per_problem=2).write_parquet("pairs.parquet")

    Columns: problem_id, problem, then sample, reasoning, response and tokens (a quarter of the characters where
    unknown) of the chosen and of the rejected, as ``chosen_sample`` and so on.

    Args:
        judged: Trajectories with their verdict columns.
        verifier: The filter that finds answers wrong, or a member of a combinator such as ``any_of.verify_math``; of
            such a member's rejections, those that the combinator as a whole rejects.
        per_problem: Most pairs of one problem.
        unfinished: Take rejected samples also where they were cut off or state no answer: there is nothing wrong to
            avoid in those, but for their not ending.
        seed: Changes which of the samples kept are chosen, and ties in length.

    Raises:
        FilterError: The verifier has not judged the frame.
    """
    if f"verdict_{verifier}" not in judged.columns:
        judges = ", ".join(c.removeprefix("verdict_") for c in judged.columns if c.startswith("verdict_")) or "none"
        raise FilterError(f"no verdicts of {verifier!r} in the frame. Filters that judged it: {judges}.")
    wrong = judged.filter(_is_wrong(judged, verifier, unfinished)).select(pl.exclude("^verdict_.*$"))
    good, wrong = (_side(rows, seed) for rows in (kept(judged), wrong))
    partners = {key: rows for (key,), rows in wrong.partition_by("problem_id", as_dict=True).items()}
    pairs = []
    for (problem_id,), rows in good.partition_by("problem_id", as_dict=True, maintain_order=True).items():
        free = list(partners[problem_id].iter_rows(named=True)) if problem_id in partners else []
        for chosen in rows.sort("draw").head(per_problem).iter_rows(named=True):
            if free:
                nearest = min(free, key=lambda row: (abs(row["tokens"] - chosen["tokens"]), row["draw"]))
                free.remove(nearest)
                pairs.append((chosen, nearest))
    return pl.DataFrame([_pair(*pair) for pair in pairs], schema=_schema(judged))


def _is_wrong(judged: pl.DataFrame, verifier: str, unfinished: bool) -> pl.Expr:
    """Rejected by the verifier and, where it is a member, by the whole combinator."""
    columns = {f"verdict_{verifier.partition('.')[0]}", f"verdict_{verifier}"}
    wrong = pl.all_horizontal(pl.col(c).struct.field("outcome").eq_missing(pl.lit("reject")) for c in columns)
    if unfinished:
        return wrong
    wrong &= pl.col(f"verdict_{verifier}").struct.field("reason") != "no_answer"
    if "finish_reason" in judged.columns:
        wrong &= pl.col("finish_reason").cast(pl.String).fill_null("stop") == "stop"
    return wrong


def _side(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    texts = pl.col("reasoning", "response").cast(pl.String).str.len_chars().cast(pl.Int64)
    tokens = pl.sum_horizontal(texts) // 4
    if "completion_tokens" in rows.columns:
        tokens = pl.col("completion_tokens").cast(pl.Int64).fill_null(tokens)
    drawn = draws(seed, rows.select("problem_id", "sample"))
    return rows.select("problem_id", "problem", "sample", "reasoning", "response", tokens=tokens, draw=drawn)


def _pair(chosen: dict[str, object], rejected: dict[str, object]) -> dict[str, object]:
    pair = {name: chosen[name] for name in ("problem_id", "problem")}
    for side, row in (("chosen", chosen), ("rejected", rejected)):
        pair |= {f"{side}_{name}": row[name] for name in SIDES}
    return pair


def _schema(judged: pl.DataFrame) -> dict[str, pl.DataType]:
    types = judged.schema | {"tokens": pl.Int64()}
    names = {name: name for name in ("problem_id", "problem")}
    names |= {f"{side}_{name}": name for side in ("chosen", "rejected") for name in SIDES}
    return {column: types[name] for column, name in names.items()}
