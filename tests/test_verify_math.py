"""The verifier agrees with labels that others made, decides ordinary answers by itself, and survives hostile ones."""

import json
import threading
import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import canonical_answer, extract_answer
from filters import verify_math as module
from filters.verify_math import VerifyMath


def judge(frame: pl.DataFrame, **parameters) -> pl.DataFrame:
    return frame.select(VerifyMath(**parameters).verdict()).unnest("verdict_verify_math")


def compare(gold: str, answer: str, **parameters) -> str:
    return VerifyMath(**parameters).compare([(gold, answer)])[gold, answer]


def trajectories(path) -> pl.DataFrame:
    return pl.read_ndjson(path).with_columns(pl.col("gold").cast(pl.String).alias("reference_answer"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Therefore \boxed{18}.", "18"),
        (r"\boxed{1}, no: \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"x = \boxed{2} or \boxed{3}", "2, 3"),
        (r"\boxed{2}$ and $\boxed{3}$", "2, 3"),
        (r"First \boxed{2}. Then we redo it and get \boxed{3}", "3"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{4} and then \boxed{5", "4"),
        (r'{"answer": "\\boxed{\\frac{1}{2}}"}', r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        ("So 26.\n#### 26", "26"),
        ("#### Step 2\nHmm\nA: 7", "7"),
        ("#### 12\nThat is all.", "12"),
        ("She makes 26\nA: 26", "26"),
        ("**Answer:** 26", "26"),
        ("Final answer: $26$", "$26$"),
        ("Thus the answer is 26. Good.", "26"),
        ("The final answer is: $\\frac{1}{2}$.", "$\\frac{1}{2}$"),
        ("the answer is 3.5 km", "3.5 km"),
        ('{"reasoning": "it is 3", "answer": "18"}', "18"),
        ('{"reasoning": "so the answer is 3. No.", "answer": "18"}', "18"),
        ('{"answer": 18}', "18"),
        ('{"answer": -1,234.5}', "-1,234.5"),
        (r'{"answer": "\sqrt{138}"}', r"\sqrt{138}"),
        (r'{"answer": "6\\sqrt{3}"}', r"6\sqrt{3}"),
        (r'{"answer": "say \"two\""}', 'say "two"'),
        ('{"answer": "2"}\nWait. The answer is 3.', "3"),
        ("I cannot tell, perhaps 60?", None),
        ("28 + 32 = 60", None),
        ("", None),
        ("<think>", None),
        (r"\boxed{}", None),
        ("A:", None),
    ],
)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


@given(st.text() | st.text(alphabet='\\boxed{}#A: answer"$\n0123456789'))
def test_extraction_never_fails(text):
    answer = extract_answer(text)
    assert answer is None or answer.strip()
    canonical_answer(text)


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_every_number_is_found_and_equals_itself(number):
    for text in (
        rf"\boxed{{{number:f}}}",
        f"A: {number:,f}",
        f"#### ${number:f}",
        json.dumps({"answer": f"{number:f}"}),
    ):
        found = extract_answer(text)
        assert found is not None
        assert VerifyMath()._compare_notation(f"{number:f}", found) == "equal"


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 200_000,
        "\\boxed{" + "{" * 1_000_000,
        "the answer is" + " " * 1_000_000,
        '"answer": "' * 100_000,
        '"answer": "' + "\\" * 1_000_001,
        "\n####" * 200_000,
        "A:" + "*" * 1_000_000,
        "A: " * 300_000,
        "." * 1_000_000 + "\0\x00",
        "9" * 1_000_000,
    ],
    ids=range(10),
)
def test_extraction_is_linear(text):
    start = time.monotonic()
    canonical_answer(extract_answer(text) or text)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1,000", "1000"),
        ("1{,}000", "1000.0"),
        ("$18", "18"),
        (r"\$18.00", "18"),
        ("1/2", r"\frac{1}{2}"),
        (r"\dfrac{1}{2}", "0.5"),
        (r"\text{ east }", "east"),
        ("# 2,125", "2125"),
        ("$x^2$", "x^2"),
        ("**7**.", "7"),
        ("\u22125", "-5"),
        ("-221₃", "-221_3"),
        (r"90^\circ", "90°"),
        (r"\left( 1, 2 \right)", "( 1, 2 )"),
    ],
)
def test_canonical_answers_agree(a, b):
    assert canonical_answer(a) == canonical_answer(b)


@pytest.mark.parametrize(
    ("gold", "answer", "comparison"),
    [
        ("18", "18.0", "equal"),
        ("18", "18.0000001", "equal"),
        ("1000000", "1000001", "different"),
        ("0.333333", "1/3", "equal"),
        ("1/3", "0.33", "different"),
        ("12", "12 minutes", "equal"),
        ("12 minutes", "12", "equal"),
        ("12 minutes", "12 hours", "different"),
        ("50", "50%", "equal"),
        ("0.5", r"50\%", "equal"),
        ("5", "50%", "different"),
        ("East", "east", "equal"),
        ("9" * 150, "9" * 150 + ".0", "equal"),
        ("x", "y" * 3000, "too_long_to_compare"),
        ("y" * 3000, "y" * 3000, "equal"),
    ],
)
def test_notation_decides_without_a_worker(gold, answer, comparison, monkeypatch):
    monkeypatch.setattr(module, "_pool", lambda: pytest.fail("a worker was asked"))
    assert compare(gold, answer) == comparison


def test_tolerance_and_units_are_parameters():
    assert compare("1/3", "0.33", relative_tolerance=0.02) == "equal"
    assert compare("0.5", "0.5000001", relative_tolerance=0) == "different"
    assert compare("12", "12 minutes", units="require") == "different"
    assert compare("0.5", "50%", percent="share") == "equal"
    assert compare("50", "50%", percent="share") == "different"


@pytest.mark.parametrize(
    ("gold", "answer", "comparison"),
    [
        (r"2\sqrt{3}", r"\sqrt{12}", "equal"),
        ("x^2+2x+1", "(x+1)^2", "equal"),
        ("(1,2)", "(2,1)", "different"),
        (r"\{1,2\}", "2, 1", "equal"),
        ("1,2", "2,1", "equal"),
        (r"[0,1)", r"[0,1)", "equal"),
        ("√34", r"\sqrt{34}", "equal"),
        (r"\frac{\pi}{2}", "π/2", "equal"),
        ("5", "x=5", "equal"),
        ("5", "no such number", "different"),
        (r"\frac{0}{0}", "1", "unparsable_gold"),
        (r"\ref{fig}", "1", "unparsable_gold"),
    ],
)
def test_symbolic_answers(gold, answer, comparison):
    assert compare(gold, answer) == comparison


HOSTILE = [
    "10^{10^9}",
    "(10^9)!",
    r"\binom{10^9}{5 \cdot 10^8}",
    "9^{9^{9^9}}",
    "(" * 1500,
    "{" * 1500,
    r"\frac{1}{" * 180,
]


def test_hostile_answers_end_in_time_and_are_not_kept():
    pairs = [("5", answer) for answer in HOSTILE]
    VerifyMath().compare([("x+1", "1+x")])  # starts a worker
    start = time.monotonic()
    comparisons = VerifyMath(timeout_s=1).compare(pairs)
    assert "equal" not in comparisons.values()
    assert comparisons["5", "10^{10^9}"] != "different"
    assert time.monotonic() - start < len(HOSTILE) * 1.5 + 10


def test_nul_and_surrogates_do_not_break_a_worker():
    for answer in ("\0", "1\0 x", "\ud800", "x\u2028y"):
        assert compare("x+1", answer) != "equal"


def test_a_decided_pair_is_not_asked_again(monkeypatch):
    compare("x+2", "2+x")
    monkeypatch.setattr(module, "_pool", lambda: pytest.fail("a worker was asked"))
    assert compare("x+2", "2+x") == "equal"


def test_judges_in_any_thread():
    frame = pl.DataFrame({"response": [r"\boxed{y+1}", r"\boxed{y+2}"], "reference_answer": ["1+y", "1+y"]})
    outcomes: list[list[str]] = []
    threads = [threading.Thread(target=lambda: outcomes.append(judge(frame)["outcome"].to_list())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [["keep", "reject"]] * 4


def test_agreement_with_upstream_labels(shared_data):
    rows = trajectories(shared_data / "trajectories/gsm8k_gpt3.jsonl")
    right = judge(rows)["outcome"] == "keep"
    disagreements = rows.filter(right != rows["label"]).select("id", "gold", "label")
    assert len(disagreements) <= 0.01 * len(rows), disagreements


def test_proofs_without_a_reference_are_abstained_from(shared_data):
    rows = trajectories(shared_data / "trajectories/dsmath_v2_proofs.jsonl")
    assert judge(rows)["reason"].unique().to_list() == ["missing_input"]


def test_real_json_answers_are_read(shared_data):
    verdicts = judge(trajectories(shared_data / "trajectories/zeroeval.jsonl").sample(600, seed=1))
    assert (verdicts["reason"].fill_null("") == "no_answer").mean() < 0.08
    assert (verdicts["outcome"] == "abstain").mean() < 0.01


@pytest.mark.parametrize("name", ["gsm8k_test", "math500", "aime24_qwen2.5math", "amc23", "cmath_zh"])
def test_a_reference_accepts_itself(shared_data, name):
    problems = pl.read_ndjson(shared_data / f"problems/{name}.jsonl")
    golds = problems[next(c for c in ("gold", "answer", "reference_answer") if c in problems.columns)].cast(pl.String)
    boxed = pl.DataFrame({"response": [rf"\boxed{{{gold}}}" for gold in golds], "reference_answer": golds})
    assert judge(boxed)["outcome"].to_list() == ["keep"] * len(golds)
