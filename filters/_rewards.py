"""What filters that come later read of the verdicts of `reward_score`."""

import polars as pl


def rewards(verdicts: pl.Series) -> pl.Series:
    """The reward of each row, null where `reward_score` did not judge it or its reward is no finite number."""
    if verdicts.dtype == pl.Null:
        return pl.Series([None], dtype=pl.Float64).new_from_index(0, len(verdicts))
    scores = verdicts.struct.field("score").cast(pl.Float64)
    return scores.set(~scores.is_finite().fill_null(True), None)
