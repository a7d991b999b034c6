"""How far the verifier can be trusted: a sample of its verdicts, judged a second time by other means.

The second verifier is no oracle. What is measured is disagreement, with an interval, and each one is listed for a
person to read. Verdicts that abstained are not sampled: they claim nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from distill.metrics import Estimate, wilson
from distill.store import KEY, Run, RunError, safe_csv, seed_of, write_text
from filters import Chain, Filter, load_entry

AUDIT_FILE = ("verdicts", "audit.csv")
RATES_FILE = ("verdicts", "audit.json")


@dataclass(frozen=True)
class Rate:
    """How often the second verifier decided otherwise."""

    wrong: int
    decided: int
    """Rows on which the second verifier decided at all."""

    @property
    def share(self) -> Estimate:
        """With a Wilson interval."""
        return wilson(self.wrong, self.decided)


@dataclass(frozen=True)
class Audit:
    """The verifier's verdicts beside those of a second one, on the same sampled rows."""

    first: str
    second: str
    sampled: int
    abstained: int
    """Sampled rows on which the second verifier could not decide."""
    false_reject: Rate
    """Of the rows that the first rejected, those that the second keeps."""
    false_accept: Rate
    """Of the rows that the first kept, those that the second rejects."""
    disagreements: pl.DataFrame


def audit(run: Run, seconds: Sequence[Any] = (), *, rows: int = 400, seed: int = 0) -> list[Audit]:
    """Judge a sample of the verifier's verdicts by each second one; write disagreements and rates to `AUDIT_FILE` and
    `RATES_FILE`.

    Half of the sample was kept and half rejected, as far as there are so many; within each half every reason, domain
    and source has its share. Raises RunError where the recipe has no verifier, or where a second one must be named.
    """
    verifier = run.recipe.verifier
    if verifier is None:
        raise RunError("the recipe has no verify_* filter in its verdicts, so there is nothing to audit")
    others = [load_entry(entry) for entry in seconds] or [_second(verifier)]
    for other in others:
        other.check_ready()
    sample = _sample(run, verifier, rows, seed)
    audits = [_compare(sample, verifier, other) for other in others]
    write_text(run.path(*AUDIT_FILE), safe_csv(pl.concat([found.disagreements for found in audits])))
    of = (run.manifest("verdicts") or {}).get("digest")
    rates = {"verdicts": of, "audits": [_rates(found) for found in audits]}
    write_text(run.path(*RATES_FILE), json.dumps(rates, indent=2) + "\n")
    return audits


def recorded_audit(run: Run) -> list[dict[str, Any]]:
    """What the last audit of these verdicts found, without the rows; empty if there was none."""
    try:
        rates = json.loads(run.path(*RATES_FILE).read_text())
    except (OSError, ValueError):
        return []
    return list(rates["audits"]) if rates["verdicts"] == (run.manifest("verdicts") or {}).get("digest") else []


def _rates(found: Audit) -> dict[str, Any]:
    errors = {"false_reject": found.false_reject, "false_accept": found.false_accept}
    shares = {name: {"rows": rate.wrong, "of": rate.decided, **rate.share._asdict()} for name, rate in errors.items()}
    return {
        "first": found.first,
        "second": found.second,
        "sampled": found.sampled,
        "abstained": found.abstained,
    } | shares


def _second(verifier: Filter) -> Filter:
    if "verify_math" not in [leaf.name() for leaf in verifier.leaves]:
        raise RunError(f"name a second verifier for {verifier.name()} with --second, such as a judge")
    return load_entry({"verify_math": {"extraction": "library"}})


def _sample(run: Run, verifier: Filter, rows: int, seed: int) -> pl.DataFrame:
    """The sampled trajectories, with `first` (the verifier's verdict) and `kept`."""
    verdict = pl.col(verifier.column())
    keys = run.verdicts().select(*KEY, first=verdict).filter(_verdict_field("first", "outcome") != "abstain")
    keys = keys.join(run.trajectory_columns(*KEY, "domain", "source"), on=KEY, how="left", validate="1:1")
    # A row's place in the draw depends on nothing but its key: a larger sample contains the smaller one.
    draw = pl.Series([seed_of(seed, *key) for key in keys.select(KEY).iter_rows()], dtype=pl.Int64)
    stratum = ["kept", pl.col("first").struct.field("reason"), "domain", "source"]
    keys = keys.with_columns(kept=_verdict_field("first", "outcome") == "keep", draw=draw).sort("draw", *KEY)
    # Proportional allocation: the middle of the n-th of N rows of a stratum lies at (n + 1/2) / N of the whole.
    place = (pl.int_range(pl.len()).over(stratum) + 0.5) / pl.len().over(stratum)
    keys = keys.with_columns(place=place).sort("kept", "place", "draw", *KEY)
    chosen = keys.filter(pl.int_range(pl.len()).over("kept") < rows // 2).select(*KEY, "first", "kept")
    if chosen.is_empty():
        raise RunError(f"{verifier.name()} has decided on no row, so there is nothing to audit")
    return pl.concat(
        batch.join(chosen, on=KEY, how="inner", maintain_order="left") for batch in run.trajectory_batches()
    )


def _compare(sample: pl.DataFrame, verifier: Filter, other: Filter) -> Audit:
    judged = Chain([other]).judge(sample.drop("first")).rename({other.column(): "again"})
    table = judged.with_columns(
        first=pl.Series([v["reason"] or v["outcome"] for v in sample["first"]], dtype=pl.String),
        first_evidence=sample["first"].struct.field("evidence"),
        second=pl.coalesce(_verdict_field("again", "reason"), _verdict_field("again", "outcome")),
        second_evidence=_verdict_field("again", "evidence"),
        outcome=_verdict_field("again", "outcome"),
    )
    decided = table.filter(pl.col("outcome") != "abstain")
    differs = decided.filter((pl.col("outcome") == "keep") != pl.col("kept"))
    rejected, kept = decided.filter(~pl.col("kept")), decided.filter("kept")
    shown = ("first", "second", "first_evidence", "second_evidence", "reference_answer", "problem", "response")
    second = f"{other.name()} {_parameters(other)}".strip()
    return Audit(
        first=verifier.name(),
        second=second,
        sampled=table.height,
        abstained=table.height - decided.height,
        false_reject=Rate(differs.filter(~pl.col("kept")).height, rejected.height),
        false_accept=Rate(differs.filter("kept").height, kept.height),
        disagreements=differs.select(pl.lit(second).alias("second_verifier"), *KEY, *shown),
    )


def _parameters(f: Filter) -> str:
    """The parameters in which a filter differs from its defaults, for a person."""
    defaults = type(f)()
    changed = {name: getattr(f, name) for name in type(f).model_fields if getattr(f, name) != getattr(defaults, name)}
    return ", ".join(f"{name}={value}" for name, value in changed.items())


def _verdict_field(column: str, name: str) -> pl.Expr:
    """A field of a verdict column, as text."""
    return pl.col(column).struct.field(name).cast(pl.String)
