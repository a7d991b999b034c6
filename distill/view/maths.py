"""TeX formulas as MathML, which browsers draw by themselves: no script, no font, no network.

Knows what solutions of mathematical problems are written with, and nothing of TeX's programming. A formula with
anything else in it is no formula here: the caller shows it as it was written.
"""

import re
from html import escape
from html.entities import html5

from distill.view.signs import (
    ACCENTS,
    ALPHABETS,
    BELOW,
    BOLD,
    BRACKETS,
    FENCES,
    FUNCTIONS,
    LIMITS,
    SIGNS,
    SILENT,
    SPACES,
    TEXTS,
    sign_of,
)

DEEPEST = 40

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+|\{?,\}?\d{3}(?!\d))*|\s+|.", re.DOTALL)
_SPACE = '<mspace width="0.25em"></mspace>'
_FIXED = ' stretchy="false"'


def mathml(tex: str, *, block: bool = False) -> str | None:
    """A formula as a <math> element, of a line of its own if `block`; None where something in it is not known here."""
    parser = _Parser(_TOKEN.findall(tex))
    try:
        body = parser.rows("")
    except _UnknownError:
        return None
    display = ' display="block"' if block else ""
    return f"<math{display}>{body}</math>"


class _UnknownError(Exception):
    """What this reader does not know."""


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place, self.depth = tokens, 0, 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise _UnknownError
        self.place += 1
        return token

    def skip_spaces(self) -> None:
        while self.peek().isspace():
            self.place += 1

    def rows(self, end: str, css: str = "") -> str:
        """Cells and rows up to the end of the environment, or of everything; one cell alone is no table."""
        table: list[list[str]] = [[]]
        while True:
            cell, stop = self.row({"&", "\\\\", "\\end", ""})
            table[-1].append(cell)
            if stop == "\\\\":
                if self.peek() == "[":
                    self.words("[", "]")
                table.append([])
            elif stop in ("\\end", ""):
                if bool(stop) != bool(end) or (stop and self.words("{", "}") != end):
                    raise _UnknownError
                break
        if table[-1] == ["<mrow></mrow>"]:
            table.pop()
        if not end and len(table) == 1 and len(table[0]) == 1:
            return table[0][0]
        cells = ["".join(f"<mtd>{cell}</mtd>" for cell in row) for row in table]
        return f"<mtable{css}>{''.join(f'<mtr>{row}</mtr>' for row in cells)}</mtable>"

    def row(self, stops: set[str]) -> tuple[str, str]:
        """Everything up to one of the stops, which is taken; the two of them."""
        parts: list[str] = []
        while True:
            self.skip_spaces()
            token = self.peek()
            if token in stops:
                self.place += bool(token)
                return f"<mrow>{''.join(parts)}</mrow>", token
            parts.append(self.scripted())

    def scripted(self) -> str:
        """An atom with what stands above and below it."""
        limits = self.peek().removeprefix("\\") in LIMITS or sign_of(self.peek()) in LIMITS
        base = "<mrow></mrow>" if self.peek() in ("^", "_") else self.atom()
        low = high = ""
        while True:
            self.skip_spaces()
            token = self.peek()
            if token == "'" or token in ("^", "_"):
                self.place += 1
                if token == "_":
                    low += self.argument()
                else:
                    high += "<mo>′</mo>" if token == "'" else self.argument()
            elif token in ("\\limits", "\\nolimits"):
                self.place += 1
            else:
                break
        low, high = (f"<mrow>{script}</mrow>" if script else "" for script in (low, high))
        if low and high:
            return f"<munderover>{base}{low}{high}</munderover>" if limits else f"<msubsup>{base}{low}{high}</msubsup>"
        if low:
            return f"<munder>{base}{low}</munder>" if limits else f"<msub>{base}{low}</msub>"
        return f"<msup>{base}{high}</msup>" if high else base

    def argument(self) -> str:
        """What a command is applied to: a group, or the next sign; of a number its first digit."""
        self.skip_spaces()
        token = self.peek()
        if token[:1].isdigit() and len(token) > 1:
            self.tokens[self.place : self.place + 1] = [token[0], token[1:]]
        return self.atom()

    def atom(self) -> str:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _UnknownError
        try:
            return self._atom(self.take())
        finally:
            self.depth -= 1

    def _atom(self, token: str) -> str:
        if token == "{":
            return self.row({"}"})[0]
        if token[0].isdigit():
            return f"<mn>{escape(token.replace('{', '').replace('}', ''))}</mn>"
        if token.isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token == "~":
            return _SPACE
        if token[0] != "\\":
            if token in "}&^_$#%\\":
                raise _UnknownError
            return _operator({"-": "−", "*": "∗"}.get(token, token))
        return self.command(token[1:])

    def command(self, name: str) -> str:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
        if name in ("binom", "dbinom", "tbinom"):
            both = f'<mfrac linethickness="0">{self.argument()}{self.argument()}</mfrac>'
            return f"<mrow><mo>(</mo>{both}<mo>)</mo></mrow>"
        if name == "sqrt":
            self.skip_spaces()
            root = self.row_after("[", "]") if self.peek() == "[" else ""
            return f"<mroot>{self.argument()}{root}</mroot>" if root else f"<msqrt>{self.argument()}</msqrt>"
        if name in ("boxed", "fbox"):
            return f'<mrow class="boxed">{self.argument()}</mrow>'
        if name in TEXTS:
            return self.text()
        if name in ALPHABETS:
            return self.letters(ALPHABETS[name])
        if name in BOLD:
            return f'<mrow class="bold">{self.argument()}</mrow>'
        if name in ACCENTS:
            return f'<mover accent="true">{self.argument()}<mo>{escape(ACCENTS[name])}</mo></mover>'
        if name in BELOW:
            return f"<munder>{self.argument()}<mo>{escape(BELOW[name])}</mo></munder>"
        if name == "mathop":
            return self.argument()
        if name == "xrightarrow":
            return f"<mover><mo>⟶</mo>{self.argument()}</mover>"
        if name in ("overset", "stackrel", "underset"):
            script, base = self.argument(), self.argument()
            return f"<munder>{base}{script}</munder>" if name == "underset" else f"<mover>{base}{script}</mover>"
        if name == "begin":
            return self.environment(self.words("{", "}"))
        if name in ("pmod", "bmod"):
            modulo = "<mo>mod</mo>"
            return f"<mrow><mo>(</mo>{modulo}{self.argument()}<mo>)</mo></mrow>" if name == "pmod" else modulo
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}em"></mspace>'
        if name == "left":
            opening = self.fence()
            inside, _ = self.row({"\\right"})
            return f"<mrow>{opening}{inside}{self.fence()}</mrow>"
        if name in SILENT:
            return ""
        if name == "not":
            self.skip_spaces()
            return f"<mo>{escape(sign_of(self.take()) or '')}̸</mo>"
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        sign = sign_of(f"\\{name}")
        if sign is None:
            raise _UnknownError
        return f"<mi>{escape(sign)}</mi>" if sign.isalpha() else _operator(sign)

    def fence(self) -> str:
        """A bracket that grows with what it encloses; a dot is none."""
        self.skip_spaces()
        sign = sign_of(self.take())
        if sign is None:
            raise _UnknownError
        return "" if sign == "." else f"<mo>{escape(sign)}</mo>"

    def environment(self, name: str) -> str:
        if name == "array":
            self.words("{", "}")
        table = self.rows(name, ' class="left"' if name in ("cases",) or "align" in name else "")
        opening, closing = (f"<mo>{sign}</mo>" if sign else "" for sign in FENCES.get(name, ("", "")))
        return f"<mrow>{opening}{table}{closing}</mrow>"

    def words(self, opening: str, closing: str) -> str:
        """The plain text between two signs."""
        self.skip_spaces()
        if self.take() != opening:
            raise _UnknownError
        parts = []
        while (token := self.take()) != closing:
            parts.append(token)
        return "".join(parts)

    def text(self) -> str:
        """Words, in which there may be formulas between dollars."""
        self.skip_spaces()
        if (first := self.take()) != "{":
            return _text(first)
        parts, words, inside = [], "", 1
        while inside:
            token = self.take()
            inside += {"{": 1, "}": -1}.get(token, 0)
            if token == "$":
                parts += [_text(words), self.row({"$"})[0]]
                words = ""
            elif token.startswith("\\"):
                sign = " " if token[1:] in SPACES else SIGNS.get(token[1:])
                if sign is None:
                    raise _UnknownError
                words += sign
            elif token not in ("{", "}"):
                words += " " if token == "~" else token
        return f"<mrow>{''.join(parts)}{_text(words)}</mrow>"

    def letters(self, alphabet: str) -> str:
        self.skip_spaces()
        letters = self.words("{", "}") if self.peek() == "{" else self.take()
        return f"<mi>{escape(''.join(html5.get(f'{letter}{alphabet};', letter) for letter in letters))}</mi>"

    def row_after(self, opening: str, closing: str) -> str:
        self.take()
        return self.row({closing})[0]


def _text(words: str) -> str:
    return f"<mtext>{escape(' '.join(words.splitlines())).replace(' ', chr(0xA0))}</mtext>" if words else ""


def _operator(sign: str) -> str:
    """A sign; brackets that nothing said to grow stay as they are."""
    return f"<mo{_FIXED if sign in BRACKETS else ''}>{escape(sign)}</mo>"
