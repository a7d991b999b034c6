"""The fates of every way in which think tags, answers and endings go wrong."""

from time import monotonic

import polars as pl
import pytest

from filters.format import Format


def reason(thinking, response, finish="stop", domain="math", **parameters):
    row = {"reasoning": thinking, "response": response, "finish_reason": finish, "domain": domain}
    verdict = pl.DataFrame([row], schema=dict.fromkeys(row, pl.String)).select(Format(**parameters).verdict()).item()
    return verdict["reason"] or verdict["outcome"]


@pytest.mark.parametrize(
    ("thinking", "response", "expected"),
    [
        ("So 42.", r"\boxed{42}", "keep"),
        ("I box it early: \\boxed{41}", r"\boxed{42}", "keep"),
        ("So", r"\boxed{\frac{1}{\sqrt{2}}} = \boxed{ \frac{1}{\sqrt{2}} }", "keep"),
        ("So", r"\boxed{\frac{1}{2}} = \boxed{0.5}", "keep"),
        ("So", r"\boxed{1,000} or \boxed{1000}", "keep"),
        ("So", r"\boxed{\frac{1}{2}} or \boxed{\frac{1}{3}}", "several_final_answers"),
        ("So", r"\boxed{4", "no_final_answer"),
        ("So", r"\boxed{}", "no_final_answer"),
        ("So", r"\boxed{ } but \boxed{4}", "keep"),
        # nothing opened; nothing closed; both twice
        (None, r"Let me see. </think> \boxed{42}", "no_reasoning"),
        (None, r"</think> \boxed{42}", "no_reasoning"),
        (None, r"\boxed{42}", "no_reasoning"),
        ("", r"\boxed{42}", "no_reasoning"),
        (None, r"<think> Let me see. \boxed{42}", "unclosed_reasoning"),
        (None, r"<thinking> Let me see. \boxed{42}", "unclosed_reasoning"),
        ("a <think>b</think> c", r"\boxed{42}", "repeated_think_tags"),
        ("a <think>b", r"c</think>\boxed{42}", "repeated_think_tags"),
        ("The problem says <think>.", r"\boxed{42}", "repeated_think_tags"),
        ("So", r"\boxed{42} <think> more", "repeated_think_tags"),
        ("So <THINK>", r"\boxed{42}", "repeated_think_tags"),
        ("So <thinking>", r"\boxed{42}", "repeated_think_tags"),
        ("I think so; a<think, think>b.", r"\boxed{42}", "keep"),
        ("So<|im_end|>", r"\boxed{42}", "leaked_token"),
        ("So", r"\boxed{42}<|eot_id|>", "leaked_token"),
        ("So", "\\boxed{42}<｜end▁of▁sentence｜>", "leaked_token"),
        ("So", "\\boxed{42}<｜User｜>", "leaked_token"),
        ("So <|begin_of_thought|>", r"\boxed{42}", "leaked_token"),
        ("So <tool_call>", r"\boxed{42}", "leaked_token"),
        ("So [TOOL_CALLS]", r"\boxed{42}", "leaked_token"),
        ("So<unused12>", r"\boxed{42}", "leaked_token"),
        ("So <0x0A>", r"\boxed{42}", "leaked_token"),
        ("So", r"[INST] \boxed{42}", "leaked_token"),
        ("a <|b| and |c|> d, x<s>y", r"\boxed{|x| < 2}", "keep"),
        ("So", "\0\n\t ", "no_final_answer"),
    ],
)
def test_fates(thinking, response, expected):
    assert reason(thinking, response) == expected


@pytest.mark.parametrize("thinking", ["So 42.", "It asks what the tag does. So 42."])
def test_think_tags_in_the_problem_are_no_fault_of_the_trajectory(thinking):
    row = {"problem": "What does <think> do? Answer after </think>.", "reasoning": thinking, "response": r"\boxed{42}"}
    frame = pl.DataFrame([row | {"finish_reason": "stop", "domain": "math"}])
    assert frame.select(Format().verdict()).item()["outcome"] == "keep"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (r"\boxed{18}", "keep"),
        ("so 18\n#### 18", "keep"),
        ("#### Step 1\nWe add.\n#### 18", "keep"),
        ("#### 17\n#### 18", "several_final_answers"),
        ("\\boxed{18}\n#### 18.0", "keep"),
        ("\\boxed{17}\n#### 18", "several_final_answers"),
        ("A: 18", "keep"),
        ("The answer is B.", "keep"),
        ('{"reasoning": "9 + 9", "answer": "18"}', "keep"),
        ("9 + 9 makes 18", "no_final_answer"),
        ("#### 18\n" + "blah " * 300, "text_after_answer"),
        ("Answer: 18\n" + "blah " * 300, "text_after_answer"),
    ],
)
def test_styles_of_a_stated_answer(response, expected):
    assert reason("So", response, final_answer="stated") == expected


@pytest.mark.parametrize(
    ("domain", "response", "expected"),
    [
        (None, r"\boxed{4}", "keep"),
        (None, "4", "no_final_answer"),
        ("choice", "The answer is (B).", "keep"),
        ("choice", r"\boxed{B}", "keep"),
        ("choice", "It could be any.", "no_final_answer"),
        ("code", "Use:\n```python\nprint(1)\n```\n" + "It prints one. " * 200, "keep"),
        ("code", "print(1)", "no_final_answer"),
        ("code", "```python\nprint(1)", "no_final_answer"),
        ("instruction", "A poem.", "keep"),
        ("general", "A poem.", "keep"),
        ("general", " ", "empty_response"),
    ],
)
def test_what_a_final_answer_is_depends_on_the_domain(domain, response, expected):
    assert reason("So", response, domain=domain) == expected


def test_text_behind_the_answer():
    assert reason("So", r"\boxed{4}" + "x" * 1000) == "keep"
    assert reason("So", r"\boxed{4}" + "x" * 1001) == "text_after_answer"
    assert reason("So", r"\boxed{4} " + "x" * 2000 + r" so \boxed{4}") == "keep"
    assert reason("So", r"\boxed{4}" + "x" * 1001, max_chars_after_answer=2000) == "keep"


@pytest.mark.parametrize(
    "loop", [r"\boxed{", r"\boxed{{{{{{", r"\boxed{1}", "#### 1\n", "answer is ", '"answer": "', "<"]
)
@pytest.mark.parametrize("style", ["boxed", "stated"])
def test_loops_of_a_model_take_linear_time(loop, style):
    begin = monotonic()
    reason("So " + loop * 20_000, loop * 20_000, final_answer=style)
    assert monotonic() - begin < 15  # they take less than one; a quadratic search takes minutes


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


def test_evidence_shows_the_answers_or_what_stands_behind_them():
    responses = [r"\boxed{1} or \boxed{2}", r"\boxed{1}" + " zq" * 500]
    frame = pl.DataFrame({"reasoning": "So", "response": responses, "finish_reason": "stop"})
    several, behind = frame.select(Format().verdict()).to_series()
    assert several["evidence"] == "1 | 2"
    assert behind["evidence"].startswith(" zq zq")
