"""Rows as token ids with a mask, checked against the faults that make a fine-tuning silently wrong.

Every row is rendered by the student's own template. What cannot be learned from is dropped and counted; what shows that
template, tokenizer and model do not fit together stops the stage before a step is paid for.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distill.chat import THINK_CLOSE

UNTRAINED = -100
"""The label of a token without loss, as torch's cross entropy has it."""


GROUPED_BATCHES = 50
"""Batches among which rows are exchanged for others of like length."""


class RowError(ValueError):
    """A row cannot be trained on with this tokenizer and template. Names the row, the reason and the cure."""


@dataclass
class Rows:
    """Tokenised rows, in the order given, without those that were dropped."""

    input_ids: list[list[int]] = field(default_factory=list)
    """Prompt, completion and end token."""
    labels: list[list[int]] = field(default_factory=list)
    """The ids that are trained on, which are the completion's and its end token; `UNTRAINED` for the prompt's."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""

    def drop(self, reason: str) -> None:
        """Count one row that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def prepare_rows(chats: list[dict[str, Any]], tokenizer: Any, *, max_length_tokens: int, what: str) -> Rows:
    """Tokenise prompt-completion rows of messages.

    Raises RowError where the template loses the reasoning, the prompt is no prefix of the whole, or the end token is
    missing; drops rows over `max_length_tokens` and rows whose text holds one of the tokenizer's special tokens.
    """
    rows = Rows()
    special = [token for token in tokenizer.all_special_tokens if token]
    for number, chat in enumerate(chats):
        if any(token in message["content"] for message in chat["prompt"] + chat["completion"] for token in special):
            rows.drop("special tokens of the tokenizer in the text")
            continue
        prompt, whole = _render(chat, tokenizer, f"{what}: row {number}")
        ids, length = _tokenise(prompt, whole, tokenizer, f"{what}: row {number}")
        if len(ids) > max_length_tokens:
            rows.drop(f"longer than max_length_tokens {max_length_tokens:,}")
            continue
        rows.input_ids.append(ids)
        rows.labels.append([UNTRAINED] * length + ids[length:])
    if not rows.input_ids:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rows.dropped.items()) or "none were given"
        raise RowError(f"{what}: no rows to train on ({reasons})")
    return rows


def _render(chat: dict[str, Any], tokenizer: Any, where: str) -> tuple[str, str]:
    prompt: str = tokenizer.apply_chat_template(chat["prompt"], tokenize=False, add_generation_prompt=True)
    whole: str = tokenizer.apply_chat_template(chat["prompt"] + chat["completion"], tokenize=False)
    content = chat["completion"][-1]["content"].strip()
    if content not in whole:
        lost = "the reasoning" if THINK_CLOSE in content and THINK_CLOSE not in whole else "part of the completion"
        raise RowError(
            f"{where}: the student's chat template drops {lost}, so it would never be learned; "
            "take a base whose template keeps <think> in the last message"
        )
    if not whole.startswith(prompt):
        raise RowError(
            f"{where}: the template's prompt is not the beginning of its whole conversation, so the loss mask would be "
            f"wrong: the prompt ends {prompt[-40:]!r}; take a base with a template for training"
        )
    return prompt, whole


def _tokenise(prompt: str, whole: str, tokenizer: Any, where: str) -> tuple[list[int], int]:
    """Ids up to the end token, and how many of them are the prompt's."""
    # The template writes its own special tokens; adding them again would double the beginning-of-text token.
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    length = len(before)
    if ids[:length] != before:
        raise RowError(
            f"{where}: tokenising prompt and completion together changes the prompt's last tokens "
            f"({tokenizer.convert_ids_to_tokens(before[-3:])}), so the loss mask would be off; "
            "take a base whose template ends the prompt at a special token or line break"
        )
    end = tokenizer.eos_token_id
    if end not in ids[length:]:
        last = tokenizer.convert_ids_to_tokens(ids[-3:])
        raise RowError(
            f"{where}: the template ends a turn with {last}, but the tokenizer's end token is {tokenizer.eos_token!r}, "
            "so the student would never learn to stop; name the template's as the arm's end_token, for Qwen2.5 bases "
            "'<|im_end|>'"
        )
    # What the template writes after the end token (a line break in ChatML) is never generated.
    return ids[: len(ids) - ids[::-1].index(end)], length


def batch_order(lengths: list[int], *, batch_rows: int, steps: int, seed: int) -> list[int]:
    """Which row stands where in `steps` batches of `batch_rows`: rows of like length together, batches in random order.

    Every row is used once before one is used again. The trainer's own grouping runs from long to short rows over and
    over, so that training ends on the shortest; on a curve that is steep at its end this cost most of what was learned.
    """
    random = np.random.default_rng(seed)
    stream = (row for _ in itertools.count() for row in random.permutation(len(lengths)).tolist())
    order: list[int] = []
    while len(order) < steps * batch_rows:
        group = sorted(itertools.islice(stream, GROUPED_BATCHES * batch_rows), key=lambda row: lengths[row])
        batches = [group[start : start + batch_rows] for start in range(0, len(group), batch_rows)]
        order += [row for batch in random.permutation(len(batches)).tolist() for row in batches[batch]]
    return order[: steps * batch_rows]
