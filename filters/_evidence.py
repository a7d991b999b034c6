"""Text that strangers wrote, for people: control characters that do nothing, evidence marked where it stands.

Knows neither HTML nor a terminal: the caller says how plain text and marks are written. Standard library only.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal

LONGEST_TEXT = 16_000
"""Characters of a text that are shown, unless another number is given."""
STANDS_ALONE_BELOW = 8
"""Evidence of fewer characters must stand alone in the text, or every digit of it would be marked."""
MOST_MARKS = 200
"""Occurrences marked in one text: a loop repeats its evidence without end."""

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]"
)
_LABEL = re.compile(r"\d+ x |[\w./#:-]+: ")
"""What filters put before a quotation: the times that it occurs, or the name of a filter or a benchmark."""
_BETWEEN_QUOTATIONS = " | "

Span = tuple[int, int]
"""First character, and the one behind the last."""


def visible(text: str) -> str:
    """The text in which terminal escapes, other controls and direction overrides are signs that do nothing."""

    def sign(match: re.Match[str]) -> str:
        code = ord(match[0])
        if code < 0x20:
            return chr(0x2400 + code)
        return "␡" if code == 0x7F else f"⟨{code:04x}⟩"

    return _CONTROL.sub(sign, text)


@dataclass(frozen=True, slots=True)
class Found:
    """Where evidence stands in a text."""

    spans: tuple[Span, ...] = ()
    """In order, without overlaps."""
    how: Literal["verbatim", "normalised", "absent"] = "absent"
    """``normalised``: the same words, but for case, spaces and signs between them. ``absent``: the filter computed it,
    or it stands in another text of the row."""


def locate(text: str, evidence: str | None) -> Found:
    """All places of the evidence in a text; without the label before it, and part by part, where it has them."""
    for quotations in _readings(evidence or ""):
        for how in ("verbatim", "normalised"):
            spans = [span for quotation in quotations for span in _places(text, quotation, how)]
            if spans:
                return Found(merged(spans), how)
    return Found()


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans in order; those that touch or overlap as one."""
    whole: list[Span] = []
    for begin, end in sorted(spans):
        if whole and begin <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        else:
            whole.append((begin, end))
    return tuple(whole)


def _readings(evidence: str) -> Iterator[list[str]]:
    """The evidence as it is, then without its label, then the quotations that it consists of."""
    whole = evidence.strip()
    bare = whole[label.end() :].strip() if (label := _LABEL.match(whole)) else whole
    for reading in ([whole], [bare], bare.split(_BETWEEN_QUOTATIONS)):
        if parts := [part.strip() for part in reading if part.strip()]:
            yield parts


def _places(text: str, quotation: str, how: Literal["verbatim", "normalised"]) -> list[Span]:
    for pattern in [re.escape(quotation)] if how == "verbatim" else _loose(quotation):
        if len(quotation) < STANDS_ALONE_BELOW:
            pattern = rf"(?<!\w)(?<!\d[.,]){pattern}(?!\w)(?![.,]\d)"
        found = re.finditer(pattern, text, re.NOFLAG if how == "verbatim" else re.IGNORECASE)
        if places := [match.span() for match in islice(found, MOST_MARKS)]:
            return places
    return []


def _loose(quotation: str) -> Iterator[str]:
    """Patterns of the same signs with any spaces between them, then of three words or more with any signs."""
    yield r"\s*".join(re.escape(part) for part in re.findall(r"\w+|[^\w\s]", quotation))
    words = re.findall(r"[^\W_]+", quotation)
    if len(words) > 2:
        between = r"[\W_]+" if re.search(r"\d", quotation) else r"[\W\d_]+"  # language_mix quotes letters only
        yield between.join(map(re.escape, words))


def windows(length: int, spans: Iterable[Span], most: int) -> list[Span]:
    """What is shown of a text of so many characters: at most about ``most`` of them, its head, its tail and marks."""
    if length <= most:
        return [(0, length)]
    spans = list(spans)[:3]
    head, tail = (most // 2 if spans else most * 3 // 4), most // 4
    around = most // 4 // max(len(spans), 1) // 2
    near = [(max(0, begin - around), min(length, begin + around)) for begin, _ in spans]
    return list(merged([(0, head), *near, (length - tail, length)]))


def written(
    text: str,
    spans: Iterable[Span],
    *,
    plain: Callable[[str], str],
    mark: Callable[[str], str],
    most: int = LONGEST_TEXT,
) -> str:
    """A visible text with its spans marked; what is left out of a long one is counted."""
    spans = list(spans)
    shown = windows(len(text), spans, most)
    parts: list[str] = []
    for number, (begin, end) in enumerate(shown):
        if number:
            left_out = begin - shown[number - 1][1]
            parts.append(plain(f"\n\n[… {left_out:,} characters not shown …]\n\n"))
        inside = [(max(b, begin), min(e, end)) for b, e in spans if b < end and e > begin]
        edges = [begin, *(edge for span in inside for edge in span), end]
        for place, (start, stop) in enumerate(pairwise(edges)):
            if stop > start:
                parts.append((mark if place % 2 else plain)(text[start:stop]))
    return "".join(parts)
