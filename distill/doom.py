"""Which samples are doomed while they are being written: a loop, a switch of language, a spent budget.

Detects by the measures of the filters `repetition` and `language_mix`, with their defaults: a cheap look at what is new
first, and the filter itself, on the whole text so far, before anything is ended. Looks at so many tokens of a sample at
a time, whatever its neighbours do, so that what it says depends on the sample alone. Does not end a sample: engines do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from distill.chat import THINK_CLOSE
from distill.engines import Completion, Partial
from distill.lineage import Key
from distill.recipe.abort import Abort
from distill.store import seed_of
from filters._language import UNDECIDED, languages_of
from filters.language_mix import BEGINNING_CHARS, LanguageMix
from filters.repetition import Repetition

RULES = ("loop", "language", "budget")
"""Why a sample is ended."""
LANGUAGE_TOKENS = 512
"""A sample's language is looked at after so many tokens more: that takes a hundred times as long as a loop does."""
AGAIN = 1.1
"""How much longer a text is that a filter has found good before it is shown to that filter again."""
_RUN, _REPEATS, _COVERED, _TRIES = 8, 3, 48, 8

_SHARE = float(LanguageMix().max_foreign_share)


@dataclass
class _Seen:
    """What is known of a sample that is being written."""

    tokens_read: int = 0
    chars_read: int = 0
    """Of the text, by language."""
    next_loop: float = 0
    next_language: float = 0
    """Tokens before which the filter is not asked again."""
    language: str = ""
    suspect: bool = False
    """Whether a part of the text was in another language."""
    in_budget: bool = False
    spared: bool = False


@dataclass
class Doom:
    """Says of samples that are being written why they are to be ended. Remembers those that it lets run."""

    abort: Abort
    seed: int
    problems: Mapping[str, str]
    keys: Mapping[str, Key]
    """Which sample a request is for."""
    _spared: dict[str, tuple[str | None, int | None]] = field(default_factory=dict)
    """Of requests whose samples are doomed and run on: why they would have been ended, and at which token."""
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def __call__(self, partials: Sequence[Partial]) -> list[str | None]:
        """Of each sample that is being written, why it is to be ended, or None."""
        open_ = [partial for partial in partials if not self._of(partial).spared]
        found: dict[str, str] = {}
        rules: list[tuple[bool, Callable[[list[Partial]], Iterator[str]]]] = [
            (self.abort.loop, self._looping),
            (self.abort.language, self._switched),
            (self.abort.think_tokens is not None, self._over_budget),
        ]
        for why, (on, rule) in zip(RULES, rules, strict=True):
            if on:
                found |= dict.fromkeys(rule([p for p in open_ if p.request.request_id not in found]), why)
        return [self._verdict(partial, found.get(partial.request.request_id)) for partial in partials]

    def finished(self, completion: Completion) -> dict[str, Any]:
        """The columns doomed and doomed_at of a sample that has finished."""
        self._seen.pop(completion.request_id, None)
        why, at = self._spared.pop(completion.request_id, (None, None))
        ended = completion.finish_reason.removeprefix("aborted:")
        if ended in RULES:
            why, at = ended, completion.completion_tokens
        return {"doomed": why, "doomed_at": at}

    def _of(self, partial: Partial) -> _Seen:
        return self._seen.setdefault(partial.request.request_id, _Seen())

    def _verdict(self, partial: Partial, why: str | None) -> str | None:
        if why and lets_run(self.abort, self.seed, self.keys[partial.request.request_id]):
            self._of(partial).spared = True
            self._spared[partial.request.request_id] = why, partial.tokens
            return None
        return why

    def _looping(self, partials: list[Partial]) -> Iterator[str]:
        """The end of the text repeats itself, and the filter calls it a loop."""
        due = [p for p in partials if p.tokens >= self._of(p).next_loop and repeats_itself(p.symbols)]
        if due:
            rows = pl.DataFrame({"reasoning": [None] * len(due), "response": [p.text() for p in due]}, schema=_TEXTS)
            verdicts = rows.select(Repetition().verdict().struct.field("reason")).to_series()
            for partial, reason in zip(due, verdicts, strict=True):
                if reason == "loop":
                    yield partial.request.request_id
                self._of(partial).next_loop = AGAIN * partial.tokens

    def _switched(self, partials: list[Partial]) -> Iterator[str]:
        """So much is in another language that the filter rejects it, whatever the rest of the budget brings."""
        due = [(p, self._of(p), p.text()) for p in partials if p.tokens - self._of(p).tokens_read >= LANGUAGE_TOKENS]
        self._find_suspects([(partial, seen, text) for partial, seen, text in due if not seen.suspect])
        suspects = [(p, s, text) for p, s, text in due if s.suspect and p.tokens >= s.next_language]
        shares = _foreign(LanguageMix(), [self._problem(p) for p, _, _ in suspects], [text for _, _, text in suspects])
        for (partial, seen, text), share in zip(suspects, shares, strict=True):
            written = len(text) - len(partial.request.prefix)
            to_come = written * max(0, partial.request.max_tokens / partial.tokens - 1)
            if share * len(text) / (len(text) + to_come) > _SHARE:
                yield partial.request.request_id
            seen.next_language = AGAIN * partial.tokens

    def _find_suspects(self, due: list[tuple[Partial, _Seen, str]]) -> None:
        """Look for other languages in what is new."""
        for partial, seen, text in due:
            seen.language = seen.language or _language(self._problem(partial), text)
        for language in {seen.language for _, seen, _ in due}:
            here = [(seen, text) for _, seen, text in due if seen.language == language]
            new = [text[seen.chars_read :] for seen, text in here]
            for (seen, _), share in zip(here, _foreign(LanguageMix(language=language), None, new), strict=True):
                seen.suspect = share > 0
        for partial, seen, text in due:
            seen.tokens_read, seen.chars_read = partial.tokens, len(text)

    def _problem(self, partial: Partial) -> str:
        return self.problems[self.keys[partial.request.request_id][0]]

    def _over_budget(self, partials: list[Partial]) -> Iterator[str]:
        """The reasoning has not ended."""
        assert self.abort.think_tokens is not None
        for partial in partials:
            seen = self._of(partial)
            if not seen.in_budget and partial.tokens >= self.abort.think_tokens:
                seen.in_budget = THINK_CLOSE in partial.text()
                if not seen.in_budget:
                    yield partial.request.request_id


_TEXTS = {"reasoning": pl.String, "response": pl.String}


def _language(problem: str, text: str) -> str:
    """The language that a sample should be in, as `language_mix` takes it; English where that has no word list."""
    for said in (problem, text[:BEGINNING_CHARS]):
        [language] = languages_of(pl.Series([said]))
        if language != UNDECIDED:
            return language or "en"
    return "en"


def _foreign(mix: LanguageMix, problems: list[str] | None, texts: list[str]) -> list[float]:
    """The share of foreign letters of each text that the filter rejects; else 0."""
    rows = pl.DataFrame(
        {"problem": problems or [None] * len(texts), "reasoning": [None] * len(texts), "response": texts},
        schema=_TEXTS | {"problem": pl.String},
    )
    verdicts = rows.select(mix.verdict()).to_series().to_list() if texts else []
    return [verdict["score"] if verdict["outcome"] == "reject" else 0.0 for verdict in verdicts]


def lets_run(abort: Abort, seed: int, key: Key) -> bool:
    """Whether a sample is let run where it is doomed: of each key always the same."""
    number = key[1] if key[1] >= 0 else -1 - key[1]  # both parts of a sample that was cut
    return seed_of(seed, key[0], number, "let run") / 2**31 < abort.let_run_share


def repeats_itself(symbols: str) -> bool:
    """Whether a text may end in a loop: its last run of symbols occurred before, and so did what lies between.

    Follows at most a few distances, the nearest first; a filter decides what is a loop.
    """
    end, run = len(symbols), symbols[-_RUN:]
    place = end - _RUN
    for _ in range(_TRIES if end > _COVERED else 0):
        place = symbols.rfind(run, 0, place + _RUN - 1)
        if place < 0:
            return False
        period = end - _RUN - place
        again = max((_REPEATS - 1) * period, _COVERED)
        if end >= again + period and symbols.startswith(symbols[-again:], end - again - period):
            return True
    return False
