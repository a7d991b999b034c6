"""Rows as token ids with a mask, as the student's own tokenizer and template make them, checked row by row.

What cannot be learned from is dropped, split or an error, as the recipe says, and counted; it is never cut.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from distill.recipe.student import Student
from distill.student.base import Base
from distill.student.checks import BASE_CHECKS, KEPT_CHECKS, ROW_CHECKS, Fault, Ids, Kept, PreflightError, Row

UNTRAINED = -100
"""The label of a token without loss, as torch's cross entropy has it."""

BATCH_ROWS = 1000
"""Rows that are rendered and encoded together: a fast tokenizer takes them on all cores."""

Chat = dict[str, Any]
"""`prompt` and `completion`, lists of messages."""

Rendered = tuple[int, Chat, str, str]
"""A row's number, its messages, and by the student's template the prompt and the whole."""

Encode = Callable[[list[str]], list[Ids]]
"""Texts as ids, without the tokens that a tokenizer adds by itself: the template has written its own."""


@dataclass(frozen=True)
class Rows:
    """Tokenised rows, in the order given, without those that were dropped."""

    ids: list[Ids]
    """Prompt, completion and end token."""
    prompts: list[int]
    """How many of a row's first ids are the prompt's, which have no loss."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""
    split: int = 0
    """Rows that were split."""
    numbers: list[int] = field(default_factory=list)
    """Which of the rows given each one is, from 0."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self.ids]

    def labels(self, row: int) -> Ids:
        """The ids that are trained on, which are the completion's and its end token; `UNTRAINED` for the prompt's."""
        labels = self.ids[row].copy()
        labels[: self.prompts[row]] = UNTRAINED
        return labels

    def table(self) -> pl.DataFrame:
        """Columns `input_ids` and `labels`, as trainers read them."""
        labels = [self.labels(row) for row in range(len(self))]
        kind = pl.List(pl.Int32)
        return pl.DataFrame({"input_ids": pl.Series(self.ids, dtype=kind), "labels": pl.Series(labels, dtype=kind)})


def prepare_rows(chats: Sequence[Chat], base: Base, settings: Student, what: str) -> Rows:
    """Tokenise prompt-completion rows of messages, and check every one.

    Raises PreflightError with every fault found, the rows that have it and its cure.
    """
    examined = examine(chats, base, settings, plain_encoder(base.tokenizer))
    if faults := examined.faults():
        raise PreflightError(what, faults)
    return Rows(examined.ids, examined.prompts, examined.dropped, examined.split, examined.numbers)


def examine(
    chats: Sequence[Chat], base: Base, settings: Student, encode: Encode, *, hold: int | None = None
) -> "Examined":
    """Look at every row; the ids of the first `hold` that are kept are held, of all if it is not given."""
    examined = Examined(base, settings, hold)
    under_way: tuple[list[Rendered], Future[tuple[list[Ids], list[Ids]]]] | None = None
    with ThreadPoolExecutor(1) as beside:  # while a batch is encoded, the one before is checked and the next rendered
        for start in range(0, len(chats), BATCH_ROWS):
            rendered = examined.render(list(chats[start : start + BATCH_ROWS]))
            ids = beside.submit(_encoded, rendered, encode)
            if under_way is not None:
                examined.check(under_way[0], *under_way[1].result())
            under_way = rendered, ids
        if under_way is not None:
            examined.check(under_way[0], *under_way[1].result())
    return examined


def _encoded(rendered: list[Rendered], encode: Encode) -> tuple[list[Ids], list[Ids]]:
    return encode([prompt for _, _, prompt, _ in rendered]), encode([whole for _, _, _, whole in rendered])


def plain_encoder(tokenizer: Any) -> Encode:
    """The tokenizer as it is, on all cores if it is a fast one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)

    def slow(texts: list[str]) -> list[Ids]:
        return [np.array(ids, np.int32) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def fast(texts: list[str]) -> list[Ids]:
        assert backend is not None
        return [np.array(text.ids, np.int32) for text in backend.encode_batch_fast(texts, add_special_tokens=False)]

    if backend is None:
        return slow
    backend.no_truncation()  # a tokenizer's file may ask for either
    backend.no_padding()
    return fast


class Examined:
    """What was seen in the rows so far: what is kept, what is dropped and why, and what is wrong."""

    def __init__(self, base: Base, settings: Student, hold: int | None) -> None:
        self.base, self.settings, self.hold = base, settings, hold
        self.seen = 0
        self.lengths: list[int] = []
        """Tokens of each kept row."""
        self.prompts: list[int] = []
        """Tokens without loss that each kept row begins with."""
        self.ids: list[Ids] = []
        self.numbers: list[int] = []
        """Of the rows whose ids are held, from 0 in the order given."""
        self.dropped: dict[str, int] = {}
        self.split = 0
        self._faults: dict[str, Fault] = {}

    def render(self, chats: list[Chat]) -> list[Rendered]:
        """The next rows by the student's template, without those that it refuses or that hold its marks."""
        numbers = range(self.seen, self.seen + len(chats))
        self.seen += len(chats)
        return [
            (number, chat, *texts)
            for number, chat in self._without_special_tokens(zip(numbers, chats, strict=True))
            if (texts := self._render(number, chat)) is not None
        ]

    def check(self, rendered: list[Rendered], prompts: list[Ids], wholes: list[Ids]) -> None:
        """Rows that were rendered, with the ids of prompt and whole: what is kept, dropped, wrong."""
        for (number, chat, prompt, whole), prompt_ids, ids in zip(rendered, prompts, wholes, strict=True):
            question, content = chat["prompt"][-1]["content"], chat["completion"][-1]["content"]
            self._add_row(
                number, Row(question, content, prompt, whole, prompt_ids, self._until_end(ids, len(prompt_ids)))
            )

    def _without_special_tokens(self, rows: Iterable[tuple[int, Chat]]) -> list[tuple[int, Chat]]:
        """The rows whose text the tokenizer reads as text only."""
        rows, special = list(rows), self.base.special_tokens
        texts = ["\n".join(message["content"] for message in chat["prompt"] + chat["completion"]) for _, chat in rows]
        found = (
            pl.Series(texts, dtype=pl.String).str.contains_any(special).to_list() if special else [False] * len(rows)
        )
        for (number, _), text, holds in zip(rows, texts, found, strict=True):
            if holds and self.settings.special_tokens == "drop":
                self._drop("special tokens of the tokenizer in the text")
            elif holds:
                token = next(token for token in special if token in text)
                what = f"the text holds {token!r}, which the student's tokenizer reads as a mark and not as text"
                self._fault("special_token_in_text", number, what, "set special_tokens: drop, or take such rows out")
        return [row for row, holds in zip(rows, found, strict=True) if not holds]

    def _render(self, number: int, chat: Chat) -> tuple[str, str] | None:
        """Prompt and whole conversation by the student's template; None where it refuses them."""
        from jinja2 import TemplateError

        apply = self.base.tokenizer.apply_chat_template
        try:
            prompt = apply(chat["prompt"], tokenize=False, add_generation_prompt=True)
            return prompt, apply(chat["prompt"] + chat["completion"], tokenize=False)
        except (TemplateError, TypeError, ValueError) as error:
            what = f"the student's chat template does not take the row: {str(error).strip() or type(error).__name__}"
            self._fault("template_refused", number, what, "name another as the arm's chat_template")
            return None

    def _until_end(self, ids: Ids, prompt: int) -> Ids:
        """Without what the template writes after the last end token, such as a line break: it is never generated."""
        ends = np.flatnonzero(ids[prompt:] == self.base.tokenizer.eos_token_id)
        return ids[: prompt + ends[-1] + 1] if len(ends) else ids

    def _add_row(self, number: int, row: Row) -> None:
        for check in ROW_CHECKS:
            if (finding := check(row, self.base)) is not None:
                self._fault(check.__name__, number, *finding)
                return
        limit, prompt = self.settings.max_length_tokens, len(row.prompt_ids)
        if len(row.ids) <= limit:
            self._keep(number, row.ids, prompt)
        elif self.settings.over_length == "drop":
            self._drop(f"longer than max_length_tokens {limit:,}")
        elif self.settings.over_length == "error":
            what = f"the row has {len(row.ids):,} tokens, max_length_tokens is {limit:,}"
            self._fault("over_length", number, what, "raise max_length_tokens, or set over_length: drop or split")
        else:
            self.split += 1
            for start in range(0, len(row.ids), limit):
                piece = row.ids[start : start + limit]
                if start + len(piece) > prompt:  # else nothing in it has loss
                    self._keep(number, piece, max(0, prompt - start))

    def _keep(self, number: int, ids: Ids, prompt: int) -> None:
        self.lengths.append(len(ids))
        self.prompts.append(prompt)
        if self.hold is None or len(self.ids) < self.hold:
            self.ids.append(ids)
            self.numbers.append(number)

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def _fault(self, reason: str, number: int, found: str, cure: str) -> None:
        self._faults.setdefault(reason, Fault(reason, found, cure)).rows.append(number)

    def faults(self) -> list[Fault]:
        """Everything that is wrong, with base and rows as a whole."""
        trained = sum(self.lengths) - sum(self.prompts)
        kept = Kept(np.array(self.lengths), trained, self.dropped, self.settings)
        whole = [
            *((check.__name__, check(self.base)) for check in BASE_CHECKS),
            *((check.__name__, check(kept, self.base)) for check in KEPT_CHECKS if not self._faults),
        ]
        return [*self._faults.values(), *(Fault(reason, *finding) for reason, finding in whole if finding is not None)]
