"""Preference pairs from judged samples: of the same problem one that was kept and one that the verifier found wrong."""

import polars as pl

from filters._draw import draws
from filters._funnel import kept
from filters._verdict import FilterError

SIDES = ("sample", "reasoning", "response", "tokens")


def preference_pairs(
    judged: pl.DataFrame, *, verifier: str = "verify_math", per_problem: int = 1, seed: int = 0
) -> pl.DataFrame:
    """Pairs for preference training (DPO and its kin) from a judged frame, in the order of the problems.

    Chosen is what every filter kept; rejected is what the verifier *rejected*: an abstention is not known to be wrong,
    and a truncated or looping sample fell before the verifier saw it. Each chosen sample gets the rejected one nearest
    in length, so that the pairs do not teach length; no sample stands in two pairs.

    Columns: problem_id, problem, then sample, reasoning, response and tokens of the chosen and of the rejected, as
    ``chosen_sample`` and so on. Raises FilterError where the verifier has not judged the frame.
    """
    column = f"verdict_{verifier}"
    if column not in judged.columns:
        judges = ", ".join(c.removeprefix("verdict_") for c in judged.columns if c.startswith("verdict_")) or "none"
        raise FilterError(f"no verdicts of {verifier!r} in the frame. Filters that judged it: {judges}.")
    wrong = judged.filter(pl.col(column).struct.field("outcome") == "reject").select(pl.exclude("^verdict_.*$"))
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


def _side(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    characters = pl.col("reasoning").cast(pl.String).str.len_chars().fill_null(0) + pl.col("response").str.len_chars()
    tokens = pl.col("completion_tokens").cast(pl.Int64).fill_null(characters.cast(pl.Int64) // 4)
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
