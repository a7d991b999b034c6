"""Problems: what the teacher is asked, and the held-out ones that only the report sees.

Does not judge whether a problem is good or its gold is right.
"""

from typing import Any

import polars as pl

from distill import arithmetic, hub
from distill.progress import Progress
from distill.recipe.problems import Arithmetic, Problems
from distill.schema import PROBLEM, check, verifier_input
from distill.store import Run, RunError, safe_csv, text_digest, write_parquet, write_text
from filters import Filter, extract_answer


def make(run: Run, progress: Progress) -> dict[str, Any]:
    """Write `problems.parquet`: every distinct problem once, each on one side of the split."""
    section = run.recipe.problems
    assert section is not None
    table, provenance = _generated(section.arithmetic, section.held_out) if section.arithmetic else _read(section)
    table = check(table, PROBLEM, what="problems", key=("problem_id",))
    _check_disjoint(table)
    unverifiable = _unverifiable(table, run.recipe.verifier)
    write_text(run.path("unverifiable.csv"), safe_csv(unverifiable))
    write_parquet(table, run.path("problems.parquet"))
    counts = {split: table.filter(pl.col("split") == split).height for split in ("train", "held_out")}
    progress.say(f"  {counts['train']:,} problems to sample, {counts['held_out']:,} held out")
    reasons = unverifiable.select(pl.col("reason").str.extract(r"^(\w+)")).to_series().value_counts(sort=True)
    for reason, count in reasons.iter_rows():
        progress.say(f"  {count:,} of them can only be abstained on: {reason}")
    if reasons.height:
        progress.say(f"  they are listed in {run.path('unverifiable.csv')}")
    return {**counts, "unverifiable": dict(reasons.iter_rows()), "source": provenance}


def _unverifiable(table: pl.DataFrame, verifier: Filter | None) -> pl.DataFrame:
    """The problems whose trajectories the recipe's verifier could not judge, and why: known before any is paid for."""
    if verifier is None:
        reasons = pl.Series([None], dtype=pl.String).new_from_index(0, table.height)
    else:
        reasons = verifier.unverifiable(table)
    return table.select("problem_id", "reference_answer", "problem", reason=reasons).drop_nulls("reason")


def _generated(section: Arithmetic, held_out: int) -> tuple[pl.DataFrame, dict[str, Any]]:
    parts = [
        _frame(arithmetic.generate(count, steps=section.steps, seed=section.seed, held_out=split == "held_out"), split)
        for split, count in (("train", section.count), ("held_out", held_out))
    ]
    return pl.concat(parts), {"generator": "arithmetic"}


def _frame(pairs: list[tuple[str, str]], split: str) -> pl.DataFrame:
    rows = [(text_digest(problem), problem, answer, "math", "distill/arithmetic", split) for problem, answer in pairs]
    return pl.DataFrame(rows, schema=PROBLEM, orient="row")


def _read(section: Problems) -> tuple[pl.DataFrame, dict[str, Any]]:
    table, provenance = hub.read_table(section, "problems")
    if "problem" not in table.columns:
        raise RunError(
            f"problems: no column 'problem' among {', '.join(table.columns)}; name theirs with columns: {{problem: …}}"
        )
    text = pl.col("problem").cast(pl.String)
    table = table.filter(text.is_not_null() & (text.str.strip_chars() != ""))
    defaults = {
        "problem_id": text.map_elements(text_digest, return_dtype=pl.String),
        "reference_answer": pl.lit(None),
        "domain": pl.lit(section.domain),
        "source": pl.lit(section.dataset or str(provenance.get("file"))),
    }
    missing = [value.alias(name) for name, value in defaults.items() if name not in table.columns]
    table = table.with_columns(text, *missing).unique("problem", keep="first", maintain_order=True)
    if table.height <= section.held_out:
        raise RunError(
            f"problems: {table.height} distinct problems, of which held_out: {section.held_out} leaves none to sample"
        )
    extra = verifier_input(table)
    table = table.select(pl.col(name).cast(pl.String) for name in PROBLEM if name != "split").with_columns(extra)
    if section.extract_reference:
        table = table.with_columns(pl.col("reference_answer").map_elements(extract_answer, return_dtype=pl.String))
    return _split(table, section.held_out), provenance


def _split(table: pl.DataFrame, held_out: int) -> pl.DataFrame:
    """Hold out the texts with the smallest hash: the choice does not depend on the order or number of rows."""
    order = pl.col("problem").map_elements(text_digest, return_dtype=pl.String).rank("ordinal")
    return table.with_columns(split=pl.when(order <= held_out).then(pl.lit("held_out")).otherwise(pl.lit("train")))


def _check_disjoint(table: pl.DataFrame) -> None:
    shared = table.group_by("problem").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
    if not shared.is_empty():
        raise RunError(
            f"problems: {shared.height} texts are both in train and held_out, the first is {shared['problem'][0]!r}"
        )
