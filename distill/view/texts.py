"""A row's texts as HTML: escaped, the evidence marked where it stands, formulas drawn."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from distill.view.maths import mathml
from filters._evidence import Span, written

LONGEST_TEXT = 400_000
"""Characters of a text that are shown; of a longer one its ends and what is marked, without drawing formulas."""

LONGEST_FORMULA = 4_000

_FORMULA = re.compile(
    r"\$\$(?P<double>.+?)\$\$"
    r"|\\{1,2}\[(?P<bracket>.+?)(?<!\\)\\+\]"
    r"|\\{1,2}\((?P<paren>.+?)(?<!\\)\\+\)"
    r"|\\{1,2}begin\{(?P<env>align(?:ed|at)?\*?|equation\*?|gather(?:ed)?\*?|multline\*?|eqnarray\*?|split"
    r"|[pbvVB]?matrix|d?cases|array)\}.+?\\end\{(?P=env)\}"
    r"|(?<![\\$\w])\$(?P<single>(?=[^\s$])(?:[^$\\\n]|\\.|\n(?!\s*\n))*?(?<=[^\s\\]))\$(?![\d$])"
    r"|(?P<boxed>\\{1,2}boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})",
    re.DOTALL,
)
_IN_JSON = re.compile(r'(?=.*\\\\[A-Za-z{])(?:[^\\"]|\\\\|\\[n"])+', re.DOTALL)
_BREAK = re.compile(r"(?:[ \t]*\n)?")


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula in a text: where it stands, with its delimiters, and what it says."""

    begin: int
    end: int
    tex: str
    block: bool
    """Whether it stands on a line of its own."""

    def drawn(self) -> str | None:
        """As MathML, if it can be; also where it is written as in a string of JSON, for some models answer in JSON."""
        read = [json.loads(f'"{self.tex}"', strict=False)] if _IN_JSON.fullmatch(self.tex) else []
        return next(filter(None, (mathml(tex, block=self.block) for tex in [*read, self.tex])), None)


def formulas(text: str) -> Iterator[Formula]:
    r"""The formulas of a text, in order: between $, $$, \( \), \[ \], in an environment, or a lone \boxed{}."""
    for match in _FORMULA.finditer(text):
        kind = match.lastgroup or ""
        tex = match[0] if kind in ("env", "boxed") else match[kind]
        if len(tex) <= LONGEST_FORMULA:
            yield Formula(*match.span(), tex, kind in ("double", "bracket", "env"))


def marked(text: str, spans: Sequence[Span], *, maths: bool) -> str:
    """A visible text with its spans in ``<mark>``; of a formula that a span touches, all of it."""
    if not maths or len(text) > LONGEST_TEXT:
        return _plain(text, spans)
    parts, done = [], 0
    for formula in formulas(text):
        drawn = formula.drawn()
        if drawn is None:
            continue
        touched = any(begin < formula.end and end > formula.begin for begin, end in spans)
        parts += [_part(text, spans, done, formula.begin), f"<mark>{drawn}</mark>" if touched else drawn]
        done = formula.end
        if formula.block and (line_end := _BREAK.match(text, done)):
            done = line_end.end()  # it has a line of its own anyway
    return "".join([*parts, _part(text, spans, done, len(text))])


def _part(text: str, spans: Sequence[Span], begin: int, end: int) -> str:
    inside = [(max(b, begin) - begin, min(e, end) - begin) for b, e in spans if b < end and e > begin]
    return _plain(text[begin:end], inside)


def _plain(text: str, spans: Sequence[Span]) -> str:
    return written(text, spans, plain=escape, mark=lambda part: f"<mark>{escape(part)}</mark>", most=LONGEST_TEXT)
