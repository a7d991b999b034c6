"""Trajectories in the form that datasets are published in, a list of messages a row: one question and one answer."""

import polars as pl

from distill.chat import Message


def from_messages(table: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The columns problem and response in the place of `messages`, and how many rows were left out.

    A row is one user's message and one assistant's answer, after a system prompt perhaps, which is not kept; rows of
    any other form are left out. A table without messages, or with problems of its own, is returned as it is.
    """
    if "messages" not in table.columns or "problem" in table.columns:
        return table, 0
    pairs = [_question_and_answer(messages) for messages in table["messages"].to_list()]
    schema = {"problem": pl.String, "response": pl.String}
    rows = table.drop("messages").hstack(pl.DataFrame(pairs, schema=schema, orient="row"))
    rows = rows.filter(pl.col("problem").is_not_null())
    return rows, table.height - rows.height


def _question_and_answer(messages: list[Message] | None) -> tuple[str | None, str | None]:
    said = [message for message in messages or () if message["role"] != "system"]
    if [message["role"] for message in said] != ["user", "assistant"]:
        return None, None
    return said[0]["content"], said[1]["content"]
