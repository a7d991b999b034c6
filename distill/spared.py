"""What ending samples early has saved and lost, learned from the doomed ones that were let run all the same."""

from typing import Any

import polars as pl

from distill.samples import ENDED


def ended_early(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Of each rule how many samples were aborted, how many let run, and how many of those accepted; tokens saved.

    `rows`: finish_reason, completion_tokens, doomed, doomed_at, and whether each row is accepted. None where no sample
    was doomed. `tokens_saved` is an estimate: an aborted sample would have gone on for as long as the ones let run did
    on average, those of its own rule if there are any; null where none was let run.
    """
    doomed = rows.drop_nulls("doomed").with_columns(further=pl.col("completion_tokens") - pl.col("doomed_at"))
    if doomed.is_empty():
        return None
    run_on = ~ENDED
    each = doomed.group_by("doomed").agg(
        aborted=ENDED.sum(),
        let_run=run_on.sum(),
        accepted=(run_on & pl.col("accepted")).sum(),
        further=pl.col("further").filter(run_on).mean(),
    )
    of_all = doomed.filter(run_on)["further"].mean()
    saved = each.select((pl.col("aborted") * pl.col("further").fill_null(of_all)).sum()).item() if of_all else None
    rules = {
        rule["doomed"]: {n: rule[n] for n in ("aborted", "let_run", "accepted")}
        for rule in each.sort("doomed").to_dicts()
    }
    return {**rules, "tokens_saved": None if saved is None else round(saved)}


def said(facts: dict[str, Any]) -> str:
    """The facts in a line."""
    rules = {why: counts for why, counts in facts.items() if isinstance(counts, dict)}
    aborted = ", ".join(f"{counts['aborted']:,} for {why}" for why, counts in rules.items())
    let_run, accepted = (sum(counts[name] for counts in rules.values()) for name in ("let_run", "accepted"))
    saved = "" if facts["tokens_saved"] is None else f"; about {facts['tokens_saved']:,} tokens saved"
    return f"ended early: {aborted}{saved}; {let_run:,} more were let run, of which {accepted:,} were accepted"
