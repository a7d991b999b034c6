"""A choice is read in any dress, by letter or by text; an article is no letter, and two answers are none."""

import json
import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters._choices import CONTRADICTION, NO_SUCH_OPTION, SEVERAL, choices_stated
from filters._options import options_of
from filters.verify_choice import VerifyChoice

OPTIONS = {"A": "a triangle", "B": "$\\frac{1}{2}$", "C": "Paris", "D": "12 m"}
PROBLEM = "What is it?\n(A) a triangle\n(B) $\\frac{1}{2}$\n(C) Paris\n(D) 12 m"

STATED = {
    "letters in boxes": [
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
        (r"$$\boxed{\mathbf{D}}$$", "D"),
        (r"\boxed{\text{Option B}}", "B"),
        (r"\boxed{\text{option (B)}}", "B"),
        (r"\boxed{C} \text{ Paris}", "C"),
        (r"\boxed{A}", "A"),
    ],
    "letters in sentences and labels": [
        ("Answer: B", "B"),
        ("answer: b", "B"),
        ("**Answer:** B", "B"),
        ("**Answer: B**", "B"),
        ("Answer: (B)", "B"),
        ("Answer: [B]", "B"),
        ("Answer: **B**", "B"),
        ("Answer - B", "B"),
        (r"Answer: $\text{D}$", "D"),
        ("Answer: B\n\nExplanation: A is too big.", "B"),
        ("**Correct Answer: C**\n\nParis is the capital.", "C"),
        ("Final answer: B.", "B"),
        ("ANSWER IS (B)", "B"),
        ("The answer is A.", "A"),
        ("The answer is (B).", "B"),
        ("The answer is **B**.", "B"),
        ("The answer is: \n\nB", "B"),
        ("So the correct answer is:\n\n**B) $\\frac{1}{2}$**", "B"),
        ("The correct answer is option B.", "B"),
        ("The correct answer is B, not C.", "B"),
        ("The correct choice is (C).", "C"),
        ("The best choice would be D", "D"),
        ("The answer to this question is C.", "C"),
        ("The answer is therefore D.", "D"),
        ("The answer is B because one half is less.", "B"),
        ("The answer is A because it has three sides.", "A"),
        ("answer: A, since it has three sides", "A"),
        ("Option B is correct.", "B"),
        ("(B) is correct.", "B"),
        ("Option (C), Paris, is the right answer.", "C"),
        ("B is the correct answer.", "B"),
        ("I choose option (C).", "C"),
        ("I would go with D.", "D"),
        ("A is wrong. B is wrong. Answer: D", "D"),
        ("The answer is not A. The answer is C.", "C"),
        ("(B) is not correct; (C) is correct.", "C"),
        ("I do not choose B. The answer is C.", "C"),
        ("If the answer is A, it has three sides. But the answer is D.", "D"),
        ("#### B", "B"),
        ("答案是 C", "C"),
        ('{"answer": "B"}', "B"),
        ('{"answer": "C", "confidence": 0.9}', "C"),
        ('```json\n{"reasoning": "The answer is A? No.", "answer": "C"}\n```', "C"),
    ],
    "letters alone": [
        ("B", "B"),
        ("(c)", "C"),
        ("c.", "C"),
        ("Choice B", "B"),
        ("A: B", "B"),
        ("We think so.\n\n**B**", "B"),
        ("We think so.\n(B).", "B"),
        ("**C**\n\nParis is the capital of France.", "C"),
        ("So we are left with **D** as all else fails.", "D"),
    ],
    "a letter with its text": [
        ("Answer: C) Paris", "C"),
        ("Answer: (C) Paris", "C"),
        ("Answer: C. Paris", "C"),
        ("Answer: C: Paris", "C"),
        ("Answer: C (Paris)", "C"),
        ("C) Paris\n\nIt is the capital.", "C"),
        ("Option (B): 1/2", "B"),
        (r"\boxed{\text{C) Paris}}", "C"),
        (r"$\boxed{\textbf{(C) } Paris}$", "C"),
        ("The answer is (D) 12 m.", "D"),
        (r"Answer: B) $\frac12$", "B"),
        ("Answer: A) a triangle", "A"),
        ("The correct answer is **C) Paris**, because it is the capital.", "C"),
    ],
    "the text alone": [
        ("Paris", "C"),
        ("**Paris**", "C"),
        ("The answer is Paris.", "C"),
        ("Answer: paris", "C"),
        ("It is in France, so the answer is Paris, the capital.", "C"),
        (r"\boxed{\text{Paris}}", "C"),
        (r"\boxed{\frac{1}{2}}", "B"),
        (r"\boxed{0.5}", "B"),
        ("Answer: 1/2", "B"),
        ("The answer is 12 m.", "D"),
        (r"\boxed{12\text{ m}}", "D"),
        ("Answer: a triangle", "A"),
        ("Answer: A triangle", "A"),
        ("A: 12 m", "D"),
        ("A: a triangle", "A"),
    ],
    "more than one": [
        (r"\boxed{A, B}", SEVERAL),
        (r"\boxed{A and B}", SEVERAL),
        (r"\boxed{\text{A or C}}", SEVERAL),
        ("Answer: A/B", SEVERAL),
        ("Both fit, so the answer is A and C.", SEVERAL),
        ("The answer is A or B.", SEVERAL),
        (r"First \boxed{A}, no: \boxed{B}", "A B"),
        ("The answer is B. Wait, the answer is C.", "B C"),
        ("Answer: C) 12 m", CONTRADICTION),
        ("Answer: (A) Paris", CONTRADICTION),
        (r"\boxed{\text{A: Paris}}", CONTRADICTION),
        (r"\boxed{E}", NO_SUCH_OPTION),
        ("Answer: Z", NO_SUCH_OPTION),
        ("Answer: (F) London", NO_SUCH_OPTION),
    ],
    "none": [
        ("", ""),
        ("I do not know.", ""),
        ("Answer: a square", ""),
        ("Answer: A square", ""),
        ("The answer is A square.", ""),
        ("The answer is not here.", ""),
        ("The answer is I think unclear", ""),
        ("The answer is E. coli", ""),
        ("The answer is none of the above.", ""),
        ("Answer: London", ""),
        (r"\boxed{7}", ""),
        (r"\boxed{}", ""),
        ("It could be A or B or C.", ""),
        ("A triangle is nice", ""),
        ("There is a point. A point is a point.", ""),
        ("Let x = 5. Then B = 3.", ""),
        ("Plan B is better.", ""),
        ("Answer: AB", ""),
    ],
}


@pytest.mark.parametrize("kind", STATED)
def test_stated_choices(kind):
    read = [(text, " ".join(dict.fromkeys(c for c, _ in choices_stated(text, OPTIONS)))) for text, _ in STATED[kind]]
    assert read == STATED[kind]


DRESSES = [
    "%s", "(%s)", "**%s**", "**(%s)**", "%s.", "%s)", "[%s]", "$%s$", r"\text{(%s)}", r"$\textbf{%s}$", "option %s",
]  # fmt: skip
TEXT_DRESSES = ["{0}) {1}", "**{0}. {1}**", "({0}) {1}", "{1}"]
LOOPS = [r"\boxed{", "answer is B ", "Option B is ", "(B) x", "**a", "B\t", "A, ", "#### ", "option B" + " " * 99]
CARRIERS = [
    r"So \boxed{%s}.", "Answer: %s", "**Answer:** %s", "The answer is %s", "The correct option is\n\n%s", "I choose %s",
    "So:\n\n%s", "%s\n\nThat is why.", "Final answer: %s\n\nThanks for asking.", "#### %s", "A: %s",
]  # fmt: skip


@given(st.sampled_from("ABCDEFGHIJ"), st.booleans(), st.sampled_from(DRESSES), st.sampled_from(CARRIERS), st.booleans())
def test_every_letter_is_found_in_every_dress(letter, small, dress, carrier, known):
    options = {name: f"the {name} theory" for name in "ABCDEFGHIJ"} if known else {}
    text = "Let me see.\nA triangle has three.\n" * (not carrier.startswith("%s")) + carrier
    stated = choices_stated(text.replace("%s", dress).replace("%s", letter.lower() if small else letter), options)
    assert {chosen for chosen, _ in stated} == {letter}


@given(st.sampled_from("ABCD"), st.sampled_from(CARRIERS), st.sampled_from(TEXT_DRESSES))
def test_the_text_of_an_option_is_the_option(letter, carrier, dress):
    stated = choices_stated(carrier.replace("%s", dress.format(letter, OPTIONS[letter])), OPTIONS)
    assert {chosen for chosen, _ in stated} == {letter}


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_it(response, problem):
    choices_stated(response, options_of(None, problem))
    choices_stated(f"answer is {response}", OPTIONS)


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_take_linear_time(loop):
    start = time.monotonic()
    choices_stated(loop * (200_000 // len(loop)), OPTIONS)
    options_of(None, loop * (200_000 // len(loop)))
    assert time.monotonic() - start < 20  # quadratic ones take minutes


@pytest.mark.parametrize(
    ("options", "problem", "expected"),
    [
        ('["x", "y"]', "", {"A": "x", "B": "y"}),
        ('{"a": "x", "B": 7}', "", {"A": "x", "B": "7"}),
        ('["A) x", "B) y"]', "", {"A": "x", "B": "y"}),
        ('["x", "y"]', PROBLEM, {"A": "x", "B": "y"}),
        (None, PROBLEM, OPTIONS),
        (None, "A. x\nB. y\nC. z", {"A": "x", "B": "y", "C": "z"}),
        (None, "A)x\nB)y", {"A": "x", "B": "y"}),
        (None, "a) x\nb) y", {"A": "x", "B": "y"}),
        (None, "**A)** x\n**B)** y", {"A": "x", "B": "y"}),
        (None, "**A.** x\n**B.** y", {"A": "x", "B": "y"}),
        (None, "- A: x\n- B: y\n\nThink first.", {"A": "x", "B": "y"}),
        (None, "A) one\nline\nB) y", {"A": "one\nline", "B": "y"}),
        (None, "Which? (A) x (B) y (C) z", {"A": "x", "B": "y", "C": "z"}),
        (None, r"$f(A)$? $\textbf{(A)}\ 1 \qquad \textbf{(B) } 2 \qquad$", {"A": "1", "B": "2"}),
        (None, "A: what is it?\nA) x\nB) y", {"A": "x", "B": "y"}),
        (None, "A) no\nB) no\n\nNow:\nA) x\nB) y", {"A": "x", "B": "y"}),
        (None, "A. Smith said so.", {}),
        (None, "No options here.", {}),
        (None, None, {}),
    ],
)  # fmt: skip
def test_options(options, problem, expected):
    assert options_of(options, problem) == expected


@pytest.mark.parametrize(
    "options", ["red", "{}", "[]", '["x"]', '{"red": "x", "B": "y"}', "[[1], [2]]", "7", "[" * 99_999]
)
def test_options_that_cannot_be_read(options):
    with pytest.raises(ValueError, match=r"."):
        options_of(options, PROBLEM)


def judge(response, reference="C", options=None, problem=PROBLEM):
    row = {"response": response, "reference_answer": reference, "options": options, "problem": problem}
    verdict = pl.DataFrame([row]).select(VerifyChoice().verdict()).to_series()[0]
    return verdict["reason"] or verdict["outcome"]


def test_two_answers_are_rejected_though_one_is_right():
    assert judge("The answer is A. Wait, the answer is C.") == "several_answers"
    assert judge("The answer is C. Indeed, the answer is (C) Paris.") == "keep"


def test_options_of_equal_text_are_one_option():
    assert judge("Answer: B", "A", '["5", "5.0", "6"]') == "keep"


def test_case_tells_options_apart_where_it_must():
    assert judge("Answer: 5 MW", "B", '["5 mW", "5 MW"]') == "keep"
    assert judge("Answer: 5 mw", "B", '["5 mW", "5 MW"]') == "unmatched_text"


def test_a_letter_is_a_letter_even_where_it_is_the_text_of_another_option():
    assert judge("Answer: B", "B", '["B", "A", "AB", "O"]') == "keep"
    assert judge("Answer: AB", "C", '["B", "A", "AB", "O"]') == "keep"
    assert judge("Answer: O", "D", '["B", "A", "AB", "O"]') == "keep"


def test_without_options_letters_are_judged_and_words_are_not():
    assert judge("Answer: B) London", "B", None, "Which?") == "keep"
    assert judge("Answer: C", "B", None, None) == "wrong_answer"
    assert judge("Answer: London", "B", None, None) == "unmatched_text"
    assert judge("Answer: Paris", "Paris", None, None) == "unusable_reference"


def test_what_cannot_be_verified_is_told_before_sampling():
    problems = pl.DataFrame(
        {
            "problem": [PROBLEM] * 7,
            "reference_answer": ["C", "Paris", "0.5", "London", None, "B", "E"],
            "options": [None, None, json.dumps(list(OPTIONS.values())), None, None, "{}", None],
        }
    )
    expected = [None, None, None, "unusable_reference", "missing_input", "unusable_options", "unusable_reference"]
    assert VerifyChoice().unverifiable(problems).to_list() == expected
    assert VerifyChoice().unverifiable(problems.drop("options"))[5] is None
    rows = problems.with_columns(response=pl.lit(r"\boxed{C}"))
    judged = [v["reason"] or v["outcome"] for v in rows.select(VerifyChoice().verdict()).to_series()]
    assert judged == ["keep", "keep", "wrong_answer", *expected[3:]]
