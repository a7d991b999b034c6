"""Each constraint family of IFEval with a response that obeys and one that does not; real constraints are known."""

import json
import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters._instructions import CHECKS, count_sentences
from filters.verify_instructions import VerifyInstructions, parse

CASES = {
    "keywords:existence": ({"keywords": ["Ohm", "volt"]}, "a volt by an ohm", "a volt"),
    "keywords:frequency": ({"keyword": "so", "frequency": 2, "relation": "at least"}, "So, so.", "So."),
    "keywords:forbidden_words": ({"forbidden_words": ["rock"]}, "rocky", "the Rock."),
    "keywords:letter_frequency": ({"letter": "q", "let_frequency": 2, "let_relation": "less than"}, "quo", "Q and q"),
    "language:response_language": (
        {"language": "fr"},
        "Nous avons donc trouvé la bonne réponse.",
        "So we have found the right answer here.",
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "at least"},
        "It costs 3.50, e.g. today. Good!",
        "It costs 3.50, e.g. today.",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "one\n***\ntwo\n***", "one\n\ntwo"),
    "length_constraints:number_words": ({"num_words": 3, "relation": "less than"}, "one two", "one, two and three"),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        'First.\n\n"Then, second.',
        "First.\n\nSecond then.",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name] at [place]", "[name] at place"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Bye\nP. S. more", "Bye PS"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n - b", "* a\n** b"),
    "detectable_format:constrained_response": ({}, "So: My answer is maybe.", "My answer is perhaps."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* and **b c**", "*a* and ** **"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\nx\nSection 2",
        "Section one\nSection 2",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<Ode>>\nx", "<< >> Ode"),
    "combination:two_responses": ({}, "one\n******\ntwo", "one ****** one"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say Hi. "}, " say hi. Hi!", "Hi! Say hi."),
    "startend:end_checker": ({"end_phrase": "Any questions?"}, 'So. any questions?"', "Any questions? No."),
    "startend:quotation": ({}, ' "all of it" ', '"all" of it'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        "THIS is IT",
        "This is IT",
    ),
    "change_case:english_capital": ({}, "THIS IS ALL THAT WE WANTED TO SAY", "This is all that we wanted to say"),
    "change_case:english_lowercase": ({}, "this is all that we wanted to say", "This is all that we wanted to say"),
    "punctuation:no_comma": ({}, "one and two", "one, two"),
}


def judge(response, *constraints, **parameters):
    listed = json.dumps([{"id": name, "kwargs": kwargs} for name, kwargs in constraints])
    rows = pl.DataFrame({"response": [response], "constraints": [listed]})
    return rows.select(VerifyInstructions(**parameters).verdict()).to_series()[0]


def test_every_family_has_a_case():
    assert {*CASES} == {*CHECKS}


@pytest.mark.parametrize("name", CASES)
def test_a_family(name):
    kwargs, obeys, breaks = CASES[name]
    assert judge(obeys, (name, kwargs))["outcome"] == "keep"
    verdict = judge(breaks, (name, kwargs))
    assert (verdict["outcome"], verdict["reason"], verdict["score"]) == ("reject", "constraint_broken", 0.0)
    assert verdict["evidence"].startswith(f"{name}: ")


def test_all_must_be_obeyed_unless_a_share_suffices():
    both = [("punctuation:no_comma", {}), ("length_constraints:number_words", {"num_words": 3, "relation": "at least"})]
    assert judge("one two", *both)["score"] == 0.5
    assert judge("one two", *both)["evidence"] == "length_constraints:number_words: 2 words, wanted at least 3"
    assert judge("one two", *both, min_share=0.5)["outcome"] == "keep"
    assert judge("", *both)["outcome"] == "reject"


def test_what_cannot_be_told_is_not_broken():
    language = ("language:response_language", {"language": "en"})
    assert judge("1 + 1 = 2", language)["reason"] == "undecidable"
    assert judge("1 + 1, 2", language, ("punctuation:no_comma", {}))["reason"] == "constraint_broken"


def test_loose_forgives_an_opening_a_closing_and_asterisks():
    closing = ("startend:end_checker", {"end_phrase": "the end"})
    for response in ("Sure!\nThis is the end\nAnything else?", "This is **the end**"):
        assert judge(response, closing)["outcome"] == "reject"
        assert judge(response, closing, mode="loose")["outcome"] == "keep"


@pytest.mark.parametrize(
    ("constraints", "reason"),
    [
        ("[]", "unusable_constraints"),
        ("{}", "unusable_constraints"),
        ("[1]", "unusable_constraints"),
        ("[" * 100_000, "unusable_constraints"),
        ('[{"id": "keywords:existence", "kwargs": {"words": ["a"]}}]', "unusable_constraints"),
        ('[{"id": "keywords:frequency", "kwargs": {"keyword": "a", "frequency": 1, "relation": "about"}}]',
         "unusable_constraints"),
        ('[{"id": "keywords:existence", "kwargs": {"keywords": "abc"}}]', "unusable_constraints"),
        ('[{"id": "length_constraints:number_words", "kwargs": {"num_words": "many", "relation": "at least"}}]',
         "unusable_constraints"),
        ('[{"id": "keywords:rhyme"}]', "unknown_constraint"),
    ],
)  # fmt: skip
def test_constraints_that_cannot_be_checked_are_abstained_on(constraints, reason):
    rows = pl.DataFrame({"response": ["a"], "constraints": [constraints]})
    verdict = rows.select(VerifyInstructions().verdict()).to_series()[0]
    assert (verdict["outcome"], verdict["reason"]) == ("abstain", reason)


def test_parameters_of_tables_are_understood():
    """Tables widen integers to floats and give every constraint the parameters of all others."""
    kwargs = {"num_words": 3.0, "relation": "at least", "keywords": None}
    assert judge("one two three", ("length_constraints:number_words", kwargs))["outcome"] == "keep"


def test_english_in_capitals_is_english():
    """To langdetect, this is German and the other one English."""
    capital = ("change_case:english_capital", {})
    response = "THE FARMER SELLS EGGS AND HENS; HE EARNS SIXTEEN DOLLARS"
    assert judge(response, capital)["outcome"] == "keep"
    response = "IL NOME DEL GIOCO È UNO E LE ISTRUZIONI SONO LE SEGUENTI: I GIOCATORI SI ALTERNANO IN SENSO ORARIO"
    assert judge(response, capital)["outcome"] == "reject"


@pytest.mark.parametrize("loop", ["!", "\n", "[", "[a", "*", "<<", ' "', "e.g. ", "a. "])
def test_loops_take_linear_time(loop):
    start = time.monotonic()
    for name, (kwargs, *_) in CASES.items():
        CHECKS[name](loop * (100_000 // len(loop)) + "x", **kwargs)
    assert time.monotonic() - start < 20  # a quadratic one takes a minute


@given(st.text(max_size=300))
def test_no_text_breaks_a_check(text):
    for name, (kwargs, *_) in CASES.items():
        assert CHECKS[name](text, **kwargs)[0] in (True, False, None)


@given(st.lists(st.sampled_from(["We add", "Then it is 3.5 m", "Dr. Who came, e.g. today"]), min_size=1, max_size=9))
def test_sentences_are_counted(sentences):
    assert count_sentences(". ".join(sentences) + "!") == len(sentences)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("A title", 1),
        ("1. Buy milk.\n2. Eat it.", 2),
        ("Is it? The answer is no. So be it...", 3),
        ("**Yes.** Then *no!* We met J. R. Smith Jr. of Smith Inc. and No. 7.", 3),
        ("我们先加。然后乘！结果是四十二。", 3),
        ("वह आया। वह गया।", 2),
    ],
)
def test_what_ends_a_sentence(text, count):
    assert count_sentences(text) == count


def test_the_constraints_of_ifeval_are_known(shared_data):
    problems = pl.read_ndjson(shared_data / "problems/ifeval.jsonl", infer_schema_length=None)
    for ids, kwargs in problems.select("instruction_id_list", "kwargs").iter_rows():
        constraints = parse(json.dumps([{"id": i, "kwargs": k} for i, k in zip(ids, kwargs, strict=True)]))
        assert isinstance(constraints, list)
        for name, parameters in constraints:
            CHECKS[name]("Some text, with a comma.\n\n* And more.", **parameters)


def test_what_cannot_be_checked_is_told_before_sampling():
    texts = [
        '[{"id": "punctuation:no_comma"}]',
        '[{"id": "keywords:rhyme"}]',
        '[{"id": "detectable_format:title",',
        None,
    ]
    texts.append('[{"id": "startend:end_checker", "kwargs": {}}]')
    reasons = VerifyInstructions().unverifiable(pl.DataFrame({"constraints": texts}))
    expected = [None, "unknown_constraint", "unusable_constraints", "missing_input", "unusable_constraints"]
    assert reasons.to_list() == expected
