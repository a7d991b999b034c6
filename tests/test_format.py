"""The fates of every way in which think tags, answers and endings go wrong."""

import polars as pl
import pytest

from filters.format import Format


def reason(thinking, response, finish="stop", **parameters):
    row = {"reasoning": thinking, "response": response, "finish_reason": finish}
    verdict = pl.DataFrame([row], schema=dict.fromkeys(row, pl.String)).select(Format(**parameters).verdict()).item()
    return verdict["reason"] or verdict["outcome"]


@pytest.mark.parametrize(
    ("thinking", "response", "expected"),
    [
        ("So 42.", r"\boxed{42}", "keep"),
        ("I box it early: \\boxed{41}", r"\boxed{42}", "keep"),
        ("So", r"\boxed{\frac{1}{\sqrt{2}}} = \boxed{ \frac{1}{\sqrt{2}} }", "keep"),
        ("So", r"\boxed{\frac{1}{2}} or \boxed{\frac{1}{3}}", "several_final_answers"),
        ("So", r"\boxed{4", "no_final_answer"),
        (None, r"Let me see. </think> \boxed{42}", "no_reasoning"),
        (None, r"<think> Let me see. \boxed{42}", "unclosed_reasoning"),
        ("a <think>b</think> c", r"\boxed{42}", "repeated_think_tags"),
        ("The problem says <think>.", r"\boxed{42}", "repeated_think_tags"),
        ("So", r"\boxed{42} <think> more", "repeated_think_tags"),
        ("So<|im_end|>", r"\boxed{42}", "leaked_token"),
        ("So", r"\boxed{42}<|eot_id|>", "leaked_token"),
        ("So", "\\boxed{42}<｜end▁of▁sentence｜>", "leaked_token"),
        ("So <tool_call>", r"\boxed{42}", "leaked_token"),
        ("So", r"[INST] \boxed{42}", "leaked_token"),
        ("a <|b| and |c|> d, x<s>y", r"\boxed{|x| < 2}", "keep"),
        ("So", "\0\n\t ", "no_final_answer"),
    ],
)
def test_fates(thinking, response, expected):
    assert reason(thinking, response) == expected


@pytest.mark.parametrize(
    ("finish", "expected"),
    [("length", "truncated"), ("aborted:loop", "aborted"), ("aborted", "aborted"), ("content_filter", "not_stopped")],
)
def test_the_way_generation_ended_comes_first(finish, expected):
    assert reason(None, "<think>", finish) == expected


def test_imported_rows_need_no_reasoning_and_no_box():
    assert reason(None, "A: 42", reasoning="optional", final_answer="any") == "keep"
    assert reason(None, "<think> A: 42", reasoning="optional", final_answer="any") == "unclosed_reasoning"
    assert reason(None, " ", reasoning="optional", final_answer="any") == "empty_response"


def test_evidence_names_the_leak():
    row = pl.DataFrame({"reasoning": ["So<|im_end|>"], "response": ["42"], "finish_reason": ["stop"]})
    assert row.select(Format().verdict()).item()["evidence"] == "<|im_end|>"
