"""Benchmark items are found in prompts and traces, whatever their looks; phrases of the trade are not items."""

import polars as pl
import pytest
from bench.corpus import benchmarks, frames
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Chain, FilterError, _benchmarks
from filters.decontaminate import Decontaminate

ITEM = (
    "A rectangular garden is surrounded by a path whose width is one third of the garden's width. The area of the path "
    "equals $\\dfrac{7}{9}$ of the garden's area, and its perimeter is 84 metres. How long is the garden?"
)
PROTON = "What is a proton made of, and how long does it live on average?"
BOILERPLATE = (
    "The answer can be written in the form m over n, where m and n are relatively prime positive integers. "
    "Find m plus n."
)


def judge(problems, traces=None, **parameters):
    frame = pl.DataFrame({"problem": problems, "reasoning": traces or [""] * len(problems), "response": "42"})
    return frame.select(Decontaminate(**parameters).verdict()).to_series().to_list()


@pytest.mark.parametrize(
    "problem",
    [
        ITEM,
        ITEM.upper(),
        ITEM.replace(" ", "\n\n"),
        ITEM.replace("$", "").replace(",", "").replace(".", ""),
        ITEM.replace(r"\dfrac{7}{9}", r"\left( \frac {7} {9} \right)"),
        f"Solve this problem. {ITEM} Please reason step by step, and put your final answer within a box.",
        ITEM.replace("84", "90"),
        ITEM[: len(ITEM) * 2 // 3],
    ],
)
def test_items_are_found_whatever_their_looks(problem):
    (verdict,) = judge([problem], texts=(ITEM,))
    assert verdict["reason"] == "contaminated_problem"
    assert verdict["evidence"].startswith("text:0: A rectangular garden")


def test_a_trace_may_quote_a_phrase_but_not_the_item():
    quoting, holding = (f"I know this: {ITEM[:n]} So it goes." for n in (110, len(ITEM)))
    verdicts = judge(["Add."] * 2, [quoting, holding], texts=(ITEM,))
    assert [v["reason"] for v in verdicts] == [None, "contaminated_trace"]
    assert 0 < verdicts[0]["score"] < 0.8 < verdicts[1]["score"] == 1
    verdicts = judge(["Add."] * 2, [quoting, holding], texts=(ITEM,), trace_share=0)
    assert [v["reason"] for v in verdicts] == ["contaminated_trace"] * 2


def test_short_items_are_found_whole_and_in_problems_only():
    problems = [
        "what is 17 + 25 ?",
        "Mia has a ribbon. What is 17 plus 25?",
        "What is 17 minus 25?",
        "2+2",
        "is 2 + 2 4",
    ]
    texts = ("What is $17$ plus $25$?", "What is $17 + 25$?", "$2 + 2$")
    assert [v["reason"] is not None for v in judge(problems, texts=texts)] == [True, True, False, True, False]
    assert judge(["Add."], ["So what is 17 plus 25? It is 42."], texts=texts)[0]["outcome"] == "keep"


def test_boilerplate_counts_for_nothing_and_copies_do_not_hide_one_another():
    item = f"Seven dice are rolled twice by two players. {BOILERPLATE}"
    others = [f"Number {word} of the {word}s meets a {word}. {BOILERPLATE}" for word in "abcdefgh"]
    assert {v["reason"] for v in judge(others, texts=(item,), boilerplate_documents=None)} == {"contaminated_problem"}
    verdicts = judge([*others, *[f"{item} {n}." for n in range(20)]], texts=(item, ITEM), problem_share=0.75)
    assert [v["outcome"] for v in verdicts] == ["keep"] * 8 + ["reject"] * 20
    assert {v["score"] for v in verdicts[:8]} == {0.0}


def test_boilerplate_among_items():
    items = tuple(f"Item {word} tells of {word}s and {word}. {BOILERPLATE}" for word in "abcdefgh")
    assert judge([f"Another one. {BOILERPLATE}"], texts=items)[0]["score"] == 0
    assert judge([items[3]], texts=items)[0]["evidence"].startswith("text:3: ")


def test_benchmarks_from_files_name_their_items_and_change_the_digest(tmp_path):
    jsonl, parquet = tmp_path / "aime.jsonl", tmp_path / "gpqa.parquet"
    pl.DataFrame({"id": [1, 2], "question": ["Add one and two.", ITEM]}).write_ndjson(jsonl)
    pl.DataFrame({"Question": [PROTON]}).write_parquet(parquet)
    paths = (str(jsonl), str(parquet))
    assert judge([ITEM], benchmarks=paths)[0]["evidence"].startswith("aime:1: A rectangular")
    assert judge([PROTON], benchmarks=paths)[0]["score"] == 1
    before = Decontaminate(benchmarks=paths).provenance()["digest"]
    pl.DataFrame({"question": ["Subtract."]}).write_ndjson(jsonl)
    assert Decontaminate(benchmarks=paths).provenance()["digest"] != before


def test_what_cannot_be_read_is_told_before_anything_is_paid_for(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": "y"}\n')
    for parameters, told in [
        ({}, "knows no benchmark"),
        ({"benchmarks": ("nowhere.jsonl",)}, "nowhere.jsonl"),
        ({"benchmarks": (str(tmp_path / "a.jsonl"),)}, "none of the columns"),
    ]:
        with pytest.raises(FilterError, match=told):
            Decontaminate(**parameters).check_ready()


def test_planted_items_are_found_and_nothing_else():
    rows = pl.concat(frames(2400))
    decontaminate = Decontaminate(texts=tuple(benchmarks()))
    judged = Chain([decontaminate]).judge(rows)
    judged = judged.select("planted", reason=pl.col(decontaminate.column()).struct.field("reason"))
    planted = judged["planted"].is_in(["contaminated_problem", "contaminated_trace"]).fill_null(False)
    assert judged.filter(planted)["planted"].n_unique() == 2
    assert judged.filter(planted).select(pl.col("planted") == pl.col("reason")).to_series().all()
    assert judged.filter(~planted)["reason"].null_count() == (~planted).sum()


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=9).map(" ".join), min_size=1, max_size=9))
@settings(deadline=None)
def test_flags_are_those_of_open_r1_at_share_zero(texts):
    """A row is flagged for one n-gram of an item; items of fewer words than that are another matter."""
    items, traces = [f"{text} a b" for text in texts[::2]], texts[1::2] or ["a"]
    lookup = {tuple(i.split()[k : k + 2]) for i in items for k in range(len(i.split()) - 1)}
    expected = [any(pair in lookup for pair in zip(t.split(), t.split()[1:], strict=False)) for t in traces]
    parameters = {"ngram_words": 2, "trace_share": 0, "boilerplate_documents": None, "texts": tuple(items)}
    assert [v["reason"] is not None for v in judge([""] * len(traces), traces, **parameters)] == expected


def normal(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def report(name: str, frame: pl.DataFrame) -> float:
    """Judge text_a against all text_b, and print what was found."""
    reasons = [v["reason"] for v in judge(frame["text_a"].to_list(), texts=tuple(frame["text_b"]))]
    found = sum(r is not None for r in reasons)
    print(f"{name:<52} {found:>4} of {len(reasons):>4} found")
    return found / len(reasons)


def test_pairs_of_the_same_problem_are_found_and_of_unrelated_ones_not(shared_data):
    pairs = pl.read_ndjson(shared_data / "decontaminate/pairs.jsonl").drop_nulls("text_b")
    recall = {relation: report(relation, part) for (relation,), part in sorted(pairs.group_by("relation"))}
    assert recall["identical text"] == 1
    assert recall["same problem, other source + instruction suffix"] == 1
    untranslated = pairs.filter(~pl.col("relation").str.starts_with("translation")).unique(
        "text_a", maintain_order=True
    )
    flags = 0
    for half in (0, 1):
        texts = untranslated.gather_every(2, half)["text_a"].to_list()
        known = {normal(t) for t in texts}
        others = [t for t in untranslated.gather_every(2, 1 - half)["text_b"] if normal(t) not in known]
        flags += sum(v["reason"] is not None for v in judge(texts, texts=tuple(others)))
    print(f"{'unrelated problems':<52} {flags:>4} of {untranslated.height:>4} found")
    assert flags == 0


def test_a_benchmark_on_the_hub_is_read_by_whoever_can(monkeypatch):
    asked = []

    def hub(*dataset):
        asked.append(dataset)
        return pl.DataFrame({"question": ["How many r are in strawberry?", None]}), "a" * 40

    monkeypatch.setattr(_benchmarks, "hub", hub)
    _benchmarks._of_hub.cache_clear()
    items = _benchmarks.read_items(["org/set", "org/set:main:train@v1", "org/set:main"], [])
    assert asked[:2] == [("org/set", None, "test", None), ("org/set", "main", "train", "v1")]
    assert asked[2:] == [("org/set", "main", "test", None)]
    assert items[0] == ("org/set:0", "How many r are in strawberry?")
    monkeypatch.setattr(_benchmarks, "hub", None)
    _benchmarks._of_hub.cache_clear()
    wrong = {"org/set": "read by distill only", "a b": "expected a file ending in", "x/y.csv": "no benchmark file"}
    for name, message in wrong.items():
        with pytest.raises(FilterError, match=message):
            _benchmarks.read_items([name], [])
