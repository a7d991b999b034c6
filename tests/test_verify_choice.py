"""A choice is read in any dress, by letter or by text, and an article is no letter."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters._options import read_options, stated_letters
from filters.verify_choice import VerifyChoice

OPTIONS = {"A": "a triangle", "B": "$\\frac{1}{2}$", "C": "Paris", "D": "12 m"}
PROBLEM = "What is it?\n(A) a triangle\n(B) $\\frac{1}{2}$\n(C) Paris\n(D) 12 m"

STATED = [
    # letters in many dresses
    (r"\boxed{B}", "B"),
    (r"\boxed{\text{B}}", "B"),
    (r"\boxed{\text{(B)}}", "B"),
    (r"\boxed{\textbf{(B)}}", "B"),
    (r"\boxed{\mathrm{B}}", "B"),
    (r"\boxed{(B)}", "B"),
    (r"\boxed{B.}", "B"),
    (r"\boxed{B)}", "B"),
    (r"\boxed{b}", "B"),
    (r"\boxed{ B }", "B"),
    (r"$\boxed{B}$", "B"),
    (r"\boxed{\text{Option B}}", "B"),
    (r"\boxed{\text{option (B)}}", "B"),
    (r"First \boxed{A}, no: \boxed{B}", "B"),
    ("Answer: B", "B"),
    ("answer: b", "B"),
    ("**Answer:** B", "B"),
    ("**Answer: B**", "B"),
    ("Answer: (B)", "B"),
    ("Answer: [B]", "B"),
    ("Answer: **B**", "B"),
    ("Final answer: B.", "B"),
    ("ANSWER: B", "B"),
    ("The answer is B.", "B"),
    ("The answer is (B).", "B"),
    ("The answer is **B**.", "B"),
    ("The correct answer is B", "B"),
    ("The correct answer is option B.", "B"),
    ("So the answer is: B", "B"),
    ("The correct option is B.", "B"),
    ("The correct choice is (C).", "C"),
    ("The best choice would be D", "D"),
    ("#### B", "B"),
    ('{"answer": "B"}', "B"),
    ('{"reasoning": "x", "answer": "(B)"}', "B"),
    ("We think so.\n\nB", "B"),
    ("We think so.\n\n**B**", "B"),
    ("We think so.\n(B).", "B"),
    ("A: B", "B"),
    ("Answer: A", "A"),
    ("The answer is A.", "A"),
    (r"\boxed{A}", "A"),
    # a letter with its text
    ("Answer: C) Paris", "C"),
    ("Answer: (C) Paris", "C"),
    ("Answer: C. Paris", "C"),
    ("Answer: C: Paris", "C"),
    (r"\boxed{\text{C) Paris}}", "C"),
    ("The answer is (D) 12 m.", "D"),
    (r"Answer: B) $\frac12$", "B"),
    ("Answer: A) a triangle", "A"),
    # the text alone
    ("The answer is Paris.", "C"),
    ("Answer: paris", "C"),
    (r"\boxed{\text{Paris}}", "C"),
    (r"\boxed{\frac{1}{2}}", "B"),
    (r"\boxed{0.5}", "B"),
    ("Answer: 1/2", "B"),
    ("The answer is 12 m.", "D"),
    (r"\boxed{12\text{ m}}", "D"),
    ("Answer: a triangle", "A"),
    ("Answer: A triangle", "A"),
    # contradictions
    (r"\boxed{A, B}", "AB"),
    (r"\boxed{A and B}", "AB"),
    (r"\boxed{\text{A or C}}", "AC"),
    ("Answer: A/B", "AB"),
    ("Answer: C) 12 m", "CD"),
    ("Answer: (A) Paris", "AC"),
    # beyond the options
    (r"\boxed{E}", "E"),
    ("Answer: Z", "Z"),
    # no choice
    ("I do not know.", ""),
    ("", ""),
    ("Answer: a square", ""),
    ("Answer: A square", ""),
    ("The answer is A square.", ""),
    ("The answer is not here.", ""),
    (r"\boxed{7}", ""),
    (r"\boxed{}", ""),
    ("Answer: London", ""),
    ("It could be A or B or C.", ""),
    ("A triangle is nice", ""),
    ("The answer is Berlin", ""),
    ("Plan B is better.", ""),
    ("Answer: AB", ""),
]  # fmt: skip


@pytest.mark.parametrize(("response", "letters"), STATED)
def test_stated_letters(response, letters):
    assert stated_letters(response, OPTIONS) == {*letters}


DRESSES = [
    r"\boxed{%s}", r"\boxed{\text{(%s)}}", r"\boxed{\textbf{%s}}", "Answer: %s", "**Answer:** (%s)", "#### %s",
    "The answer is %s.", "The correct option is **%s**.", '{"answer": "%s"}', "So:\n\n(%s)", "Final answer: option %s",
]  # fmt: skip
before = st.sampled_from(["", "Let me think. A triangle has three.\n"])


@given(st.sampled_from("ABCDEFGHIJ"), st.sampled_from(DRESSES), before)
def test_every_letter_is_found_in_every_dress(letter, dress, before):
    assert stated_letters(before + dress % letter, {}) == {letter}


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_it(response, problem):
    stated_letters(response, read_options(None, problem))


@pytest.mark.parametrize(
    ("options", "problem", "expected"),
    [
        ('["x", "y"]', "", {"A": "x", "B": "y"}),
        ('{"a": "x", "B": 7}', "", {"A": "x", "B": "7"}),
        (None, PROBLEM, OPTIONS),
        (None, "A. x\nB. y\nC. z", {"A": "x", "B": "y", "C": "z"}),
        (None, "**A)** x\n**B)** y", {"A": "x", "B": "y"}),
        (None, "- A: x\n- B: y", {"A": "x", "B": "y"}),
        (None, "Which? (A) x (B) y (C) z", {"A": "x", "B": "y", "C": "z"}),
        (None, "A: what is it?\nA) x\nB) y", {"A": "x", "B": "y"}),
        (None, "A. Smith said so.", {}),
        (None, "No options here.", {}),
    ],
)
def test_options(options, problem, expected):
    found = read_options(options, problem)
    assert {letter: text.strip() for letter, text in found.items()} == expected


def test_reference_may_be_the_text_and_what_cannot_be_read_is_told_before_sampling():
    problems = pl.DataFrame(
        {
            "problem": [PROBLEM] * 6,
            "reference_answer": ["C", "Paris", "0.5", "London", None, "B"],
            "options": [None, None, json.dumps(list(OPTIONS.values())), None, None, "{}"],
        }
    )
    reasons = VerifyChoice().unverifiable(problems)
    assert reasons.to_list() == [None, None, None, "unusable_reference", "missing_input", "unusable_options"]
    rows = problems.with_columns(response=pl.lit(r"\boxed{C}"))
    outcomes = [v["reason"] or v["outcome"] for v in rows.select(VerifyChoice().verdict()).to_series()]
    assert outcomes[:3] == ["keep", "keep", "wrong_answer"]
