import polars as pl
import pytest

from distill.chat import clean_text, join_completion, render_prompt, split_completion, user_message
from distill.conversations import from_messages


class Template:
    """Stands for a tokenizer whose template ends the prompt with `ending`."""

    def __init__(self, ending: str) -> None:
        self.ending = ending

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        assert (tokenize, add_generation_prompt) == (False, True)
        return "".join(message["content"] for message in messages) + self.ending


@pytest.mark.parametrize(
    ("ending", "open_think", "added", "opening"),
    [
        ("[A]", True, "<think>\n", "<think>\n"),
        ("[A]", False, "", ""),
        ("[A]<think>\n", True, "", "<think>\n"),
        ("[A]<think>\n", False, "", "<think>\n"),
        ("[A]<think>", True, "", "<think>"),
        ("[A]<think>\n\n", True, "", "<think>\n\n"),
    ],
)
def test_the_think_tag_is_opened_once_and_returned_as_it_stands_in_the_prompt(ending, open_think, added, opening):
    prompt = render_prompt(Template(ending), [user_message("Q", "")], open_think=open_think)
    assert prompt == ("Q" + ending + added, opening)


def test_a_think_tag_in_the_question_opens_nothing():
    assert render_prompt(Template("[A]"), [user_message("Say <think>", "")], open_think=False)[1] == ""


def test_the_instruction_follows_the_problem_after_an_empty_line():
    assert user_message("P", "I") == {"role": "user", "content": "P\n\nI"}
    assert user_message("P", "") == {"role": "user", "content": "P"}


@pytest.mark.parametrize(
    ("text", "reasoning", "response"),
    [
        ("<think>\nr\n</think>\n\na", "r", "a"),
        ("r\n</think>a", "r", "a"),
        ("<think></think>a", "", "a"),
        ("<think>\nnever closed", None, "<think>\nnever closed"),
        ("only an answer", None, "only an answer"),
        ("", None, ""),
        ("<think>r</think>a</think>b", "r", "a</think>b"),
        ("<think>r<think>s</think>a", "r<think>s", "a"),
    ],
)
def test_split(text, reasoning, response):
    assert split_completion(text) == (reasoning, response)


@pytest.mark.parametrize(("reasoning", "response"), [("r", "a"), (None, "a"), ("", "a"), ("r\n\nr", "a\n\nb")])
def test_join_is_the_inverse_of_split(reasoning, response):
    assert split_completion(join_completion(reasoning, response)) == (reasoning, response)


def test_clean_text_can_be_stored():
    assert clean_text("a\x00b\ud800c\U0001f600é") == "a\ufffdb\ufffdc\U0001f600é"
    assert clean_text("a\ud800").encode() == "a\ufffd".encode()


USER, ANSWER, SYSTEM = ({"role": role, "content": role} for role in ("user", "assistant", "system"))


@pytest.mark.parametrize(
    ("messages", "pair"),
    [
        ([USER, ANSWER], ("user", "assistant")),
        ([SYSTEM, USER, ANSWER], ("user", "assistant")),
        ([USER, ANSWER, USER, ANSWER], None),
        ([ANSWER, USER], None),
        ([USER], None),
        ([], None),
        (None, None),
    ],
)
def test_messages_are_one_question_and_one_answer_or_left_out(messages, pair):
    table = pl.DataFrame({"messages": [messages, [USER, ANSWER]], "source": ["a", "b"]})
    rows, left_out = from_messages(table)
    assert rows.rows() == ([("a", *pair)] if pair else []) + [("b", "user", "assistant")]
    assert left_out == (0 if pair else 1)
