"""Real trajectories that somebody else sampled, through the shipped recipe."""

import polars as pl
import pytest

from distill.progress import Silent
from distill.run import make, open_run


@pytest.fixture
def rejudged(shared_data, tmp_path, request):
    override = f"trajectories.import.path={shared_data}/trajectories/{request.param}.jsonl"
    run = open_run("recipes/rejudge.yaml", runs=tmp_path, overrides=(override,))
    make(run, Silent())
    return run


def fallen(run, filter):
    table = pl.read_csv(run.path("verdicts", "funnel.csv"))
    rows = table.filter((pl.col("filter") == filter) & (pl.col("outcome") != "keep"))
    return dict(rows.select("reason", "rows").iter_rows())


@pytest.mark.parametrize("rejudged", ["gsm8k_gpt3"], indirect=True)
def test_verify_math_agrees_with_upstream_labels_and_lists_where_it_does_not(rejudged):
    agreement = rejudged.manifest("verdicts")["facts"]["agreement"]
    assert agreement["labelled"] == 2632
    assert agreement["abstained"] == 0
    assert agreement["share"] >= 0.99
    listed = pl.read_csv(rejudged.path("verdicts", "disagreements.csv"), infer_schema=False)
    assert listed.height == agreement["labelled"] - agreement["agreed"]
    assert pl.read_parquet(rejudged.path("dataset", "default")).height > 500


@pytest.mark.parametrize("rejudged", ["zeroeval"], indirect=True)
def test_the_funnel_names_loops_and_missing_answers(rejudged):
    loops = fallen(rejudged, "repetition")
    assert 100 < loops["loop"] + loops["repeated_text"] < 400
    assert fallen(rejudged, "format")["empty_response"] > 0
    assert fallen(rejudged, "verify_math")["no_answer"] > 0
    assert "agreement" not in rejudged.manifest("verdicts")["facts"]
