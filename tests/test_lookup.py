"""Rows of large tables: those that were asked for, in that order, wherever they lie."""

import polars as pl
import pytest

from distill.lookup import at, beside, whole
from distill.store import BATCH_ROWS

ROWS = pl.DataFrame({"problem_id": [f"p{n // 2}" for n in range(3 * BATCH_ROWS)]}).with_columns(
    sample=pl.int_range(pl.len()) % 2, text=pl.int_range(pl.len()).cast(pl.String)
)


@pytest.mark.parametrize(
    "rows", [[], [5], [5, 6, 7], [BATCH_ROWS, BATCH_ROWS - 1], [3 * BATCH_ROWS - 1, 7, BATCH_ROWS + 3, 2, 3]]
)
def test_rows_come_in_the_order_of_their_numbers(rows):
    assert at(ROWS.lazy(), rows).equals(ROWS[rows])


def test_rows_of_keys_have_the_columns_of_all_tables():
    said = ROWS.select("problem_id", "sample", said=pl.col("text").str.len_chars())
    keys = ROWS[[4_321, 9, 8]].select("sample", "problem_id")
    lacking = said.filter(pl.col("problem_id") != "p2160").reverse()
    found = whole(keys, [ROWS.lazy(), lacking.lazy()])
    assert found["text"].to_list() == ["4321", "9", "8"]
    assert found["said"].to_list() == [None, 1, 1]


def test_rows_stand_beside_what_is_said_of_them_in_any_order():
    said = ROWS.select("problem_id", "sample", said=pl.col("text"))
    for others in (said, said.reverse(), said.sample(fraction=0.5, seed=1)):
        found = beside(ROWS, others)
        assert found.select(ROWS.columns).equals(ROWS)
        there = found.drop_nulls("said")
        assert there.height == others.height
        assert there["said"].equals(there["text"], check_names=False)
