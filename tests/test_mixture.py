"""A mixture has the caps and proportions that it names, whatever the order of the rows."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.mixture import Mixture

rows = st.lists(st.sampled_from(["math", "code", "general"]), max_size=40)


def frame(domains: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "problem_id": [f"p{number // 2}" for number in range(len(domains))],
            "sample": [number % 2 for number in range(len(domains))],
            "domain": domains,
            "source": ["web"] * len(domains),
        },
        schema_overrides={"problem_id": pl.String, "sample": pl.Int64, "domain": pl.String, "source": pl.String},
    )


def kept(mixture: Mixture, table: pl.DataFrame) -> pl.DataFrame:
    verdict = table.select(mixture.verdict()).to_series()
    return table.filter(verdict.struct.field("outcome").eq_missing("keep"))


@given(rows, st.integers(0, 9), st.randoms())
def test_caps_hold_and_order_does_not_matter(domains, cap, chance):
    mixture = Mixture(caps={"math": cap})
    table = frame(domains)
    survivors = kept(mixture, table)
    counts = Counter(survivors["domain"])
    assert counts["math"] == min(cap, domains.count("math"))
    assert counts["code"] == domains.count("code")
    order = list(range(len(domains)))
    chance.shuffle(order)
    assert kept(mixture, table[order]).sort("problem_id", "sample").equals(survivors.sort("problem_id", "sample"))
    smaller = kept(Mixture(caps={"math": max(0, cap - 1)}), table)
    assert smaller.join(survivors, on=["problem_id", "sample"], how="anti").is_empty()


@given(rows, st.sampled_from([{"math": 3, "general": 1}, {"math": 0.75, "general": 0.25}, {"math": 1, "code": 2}]))
def test_ratios_hold_within_a_row_and_nothing_more_would_fit(domains, ratios):
    survivors = Counter(kept(Mixture(ratios=ratios, others="reject"), frame(domains))["domain"])
    available = Counter(domains)
    if not all(available[domain] for domain in ratios):
        assert not survivors
        return
    most = min(available[domain] / ratio for domain, ratio in ratios.items())
    for domain, ratio in ratios.items():
        assert survivors[domain] == pytest.approx(most * ratio, abs=1)
        assert survivors[domain] <= most * ratio + 1e-9
    assert {*survivors} <= {*ratios}


def test_ratios_are_exact():
    table = frame(["math"] * 7 + ["code"] * 30)
    assert Counter(kept(Mixture(ratios={"math": 0.7, "code": 0.1}), table)["domain"]) == {"math": 7, "code": 1}
    assert Counter(kept(Mixture(ratios={"math": 0.1, "code": 0.3}), table)["domain"]) == {"math": 7, "code": 21}
    with pytest.raises(ValueError, match="greater than 0"):
        Mixture(ratios={"math": 0})


def test_what_has_no_rows_is_named():
    table = frame(["math"] * 3 + ["law"])
    verdicts = table.select(Mixture(ratios={"math": 1, "code": 1}).verdict()).to_series()
    assert [v["reason"] or v["outcome"] for v in verdicts] == ["ratio_unreachable"] * 3 + ["keep"]
    assert verdicts[0]["evidence"] == "no rows of code"


def test_by_source_and_with_another_seed():
    table = frame(["math"] * 20)
    some = Mixture(by="source", caps={"web": 10})
    assert kept(some, table.drop("domain")).height == 10
    assert not kept(some, table).equals(kept(some.model_copy(update={"seed": 1}), table))
