"""What if a filter had other parameters? Replays the chain on stored trajectories; the run's verdicts stay as they are.

Filters before the first changed one are not judged again, nor are filters of row scope behind it on rows that they have
seen. Everything else is judged as it would be.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import polars as pl
import yaml

from distill.fates import fell
from distill.store import KEY, Run, RunError, safe_csv, write_text
from distill.verdicts import CONTENT, known
from filters import Chain, Filter, FilterError, load_entry, overlap, verdict_columns

FATES_FILE = ("verdicts", "what_if.csv")

ChangedValues = tuple[str, tuple[Any, ...]]
"""``filter.parameter`` and the values to try."""


@dataclass(frozen=True)
class Outcome:
    """What the chain keeps, with the recipe's parameters or others."""

    changes: dict[str, Any]
    """``filter.parameter`` to value; empty for the recipe as it is."""
    rows: int
    tokens: int | None
    """Completion tokens of the kept rows, in the teacher's tokenizer; None where they are not known."""
    problems: int
    fates: pl.DataFrame
    """The rows whose fate differs from the recipe's: problem_id, sample, before and after, which are ``kept`` or
    ``filter: reason``."""

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.changes.items()) or "the recipe as it is"


def parse_change(text: str) -> ChangedValues:
    """Read ``length.max_tokens=4096,8192``: several values are tried one after the other."""
    name, equals, values = text.partition("=")
    filter_name, _, parameter = name.strip().partition(".")
    if not (equals and filter_name and parameter and values.strip()):
        raise RunError(f"expected filter.parameter=VALUE[,VALUE…], such as length.max_tokens=4096,8192; found {text!r}")
    try:
        parsed = yaml.safe_load(f"[{values}]")
    except yaml.YAMLError as error:
        raise RunError(f"{text!r}: the values are no YAML: {error}") from None
    return name.strip(), tuple(parsed)


def outcomes(run: Run, changes: list[ChangedValues]) -> list[Outcome]:
    """The recipe as it is, then every combination of the changed values; writes each changed fate to `FATES_FILE`."""
    replay = _Replay(run)
    combinations = product(*([(name, value) for value in values] for name, values in changes))
    found = [replay.outcome({}), *(replay.outcome(dict(combination)) for combination in combinations)]
    fates = [outcome.fates.with_columns(what_if=pl.lit(str(outcome))) for outcome in found[1:]]
    write_text(run.path(*FATES_FILE), safe_csv(pl.concat(fates)))
    return found


def overlaps(run: Run) -> pl.DataFrame:
    """What each pair of filters stops in common and each one alone, every row judged by every filter."""
    replay = _Replay(run)
    chain = Chain(replay.filters)
    return overlap(chain.judge_batches(run.trajectory_batches, exhaustive=True, known=replay.known(chain.filters)))


class _Replay:
    """A run's stored verdicts, and the chain with other parameters on the same rows."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.filters = tuple(run.recipe.verdicts)
        manifest = run.manifest("verdicts")
        judged_by = [facts["digest"] for facts in manifest["facts"]["filters"]] if manifest else None
        if judged_by != [f.provenance()["digest"] for f in self.filters]:
            raise RunError(f"{run.folder} has no verdicts of this recipe's filters yet: run `distill verdicts` first")
        self.rows = run.trajectory_columns(*KEY, "completion_tokens", CONTENT)
        self.verdicts = self.rows.select(KEY).join(run.verdicts(), on=KEY, how="left", maintain_order="left")
        self.fates = _fates(self.verdicts)

    def known(self, filters: tuple[Filter, ...]) -> pl.DataFrame | None:
        return known(self.run, self.rows, filters, abstentions=True)

    def outcome(self, changes: dict[str, Any]) -> Outcome:
        filters = self.filters
        for name, value in changes.items():
            filters = _changed(filters, name, value)
        verdicts = self._judge(filters)
        fates = _fates(verdicts)
        kept = self.rows.filter(fates == "kept")
        moved = self.rows.select(*KEY).with_columns(before=self.fates, after=fates).filter(self.fates != fates)
        tokens = None if kept["completion_tokens"].is_null().all() else int(kept["completion_tokens"].sum())
        return Outcome(changes, kept.height, tokens, kept["problem_id"].n_unique(), moved)

    def _judge(self, filters: tuple[Filter, ...]) -> pl.DataFrame:
        same = [a == b for a, b in zip(self.filters, filters, strict=True)]
        first = same.index(False) if False in same else len(same)
        done = [c for f in filters[:first] for c in self.verdicts.columns if c.split(".")[0] == f.column()]
        rest = filters[first:]
        return Chain(rest).judge_batches(
            self.run.trajectory_batches, known=self.known(rest), after=self.verdicts.select(done)
        )


def _changed(filters: tuple[Filter, ...], name: str, value: Any) -> tuple[Filter, ...]:
    filter_name, _, parameter = name.partition(".")
    found = [leaf for f in filters for leaf in f.leaves if leaf.name() == filter_name]
    if not found:
        has = ", ".join(leaf.name() for f in filters for leaf in f.leaves)
        raise RunError(f"{name}: no filter {filter_name!r} in the chain; it has {has}")
    try:
        return tuple(load_entry(_set(f.entry(), filter_name, parameter, value)) for f in filters)
    except FilterError as error:
        raise RunError(f"{name}={value}: {error}") from None


def _set(entry: Any, filter_name: str, parameter: str, value: Any) -> Any:
    """The entry with a parameter changed in the filter of that name, wherever it stands in it."""
    if isinstance(entry, list):
        return [_set(inner, filter_name, parameter, value) for inner in entry]
    if not isinstance(entry, dict):
        return entry
    if filter_name in entry and isinstance(entry[filter_name], dict):
        return entry | {filter_name: entry[filter_name] | {parameter: value}}
    return {name: _set(inner, filter_name, parameter, value) for name, inner in entry.items()}


def _fates(judged: pl.DataFrame) -> pl.Series:
    """Of each row ``kept``, or ``filter: reason``."""
    found = fell(verdict_columns(judged), "reason")
    named = pl.format("{}: {}", found["filter"].cast(pl.String), found["reason"])
    return judged.select(fate=named.fill_null("kept")).to_series()
