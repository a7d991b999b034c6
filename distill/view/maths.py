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
    ARROWS,
    BELOW,
    BOLD,
    BRACKETS,
    COLUMNS,
    FENCES,
    FUNCTIONS,
    INFIX,
    LIMITS,
    LINES,
    PLAIN,
    SIGNS,
    SILENT,
    SPACES,
    TEXTS,
    UNSEEN,
    sign_of,
)

DEEPEST = 40

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+|\{?,\}?\d{3}(?!\d))*|\s+|.", re.DOTALL)
_SPACE = '<mspace width="0.25em"></mspace>'
_FIXED = ' stretchy="false"'
_BREAKS = ("\\\\", "\\cr")
_LENGTH = re.compile(r"(\d*\.?\d+)(cm|mm|in|pt|ex|em)")


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
            cell, stop = self.row({"&", *_BREAKS, "\\end", ""})
            table[-1].append(cell)
            if stop in _BREAKS:
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
        return _table(table, css)

    def row(self, stops: set[str]) -> tuple[str, str]:
        """Everything up to one of the stops, which is taken; the two of them."""
        parts: list[str] = []
        above, infix = "", ""
        while True:
            self.skip_spaces()
            token = self.peek()
            if token in stops:
                self.place += bool(token)
                row = f"<mrow>{''.join(parts)}</mrow>"
                return (_fraction(above, row, INFIX[infix], line=infix == "over") if infix else row), token
            if token.startswith("\\") and token[1:] in INFIX:
                if infix:
                    raise _UnknownError
                infix = self.take()[1:]
                above, parts = f"<mrow>{''.join(parts)}</mrow>", []
            else:
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
        if high:
            return f"<mover>{base}{high}</mover>" if limits else f"<msup>{base}{high}</msup>"
        return base

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
            return _fraction(self.argument(), self.argument())
        if name in ("binom", "dbinom", "tbinom"):
            return _fraction(self.argument(), self.argument(), INFIX["choose"], line=False)
        if name == "sqrt":
            self.skip_spaces()
            root = self.option()
            return f"<mroot>{self.argument()}{root}</mroot>" if root else f"<msqrt>{self.argument()}</msqrt>"
        if name == "root":
            root = self.row({"\\of"})[0]
            return f"<mroot>{self.argument()}{root}</mroot>"
        if name in LINES:
            return f'<mrow class="{name}">{self.argument()}</mrow>'
        if name == "cancelto":
            left = self.argument()
            return f'<msup><mrow class="cancel">{self.argument()}</mrow>{left}</msup>'
        if name in ("phantom", "hphantom"):
            return f"<mphantom>{self.argument()}</mphantom>"
        if name == "substack":
            return self.stack()
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
        if name in PLAIN:
            return self.argument()
        if name in UNSEEN:
            self.words("{", "}")
            return ""
        if name == "textcolor":
            self.words("{", "}")
            return self.argument()
        if name in ARROWS:
            arrow, below = f"<mo>{ARROWS[name]}</mo>", self.option()
            above = self.argument()
            return f"<munderover>{arrow}{below}{above}</munderover>" if below else f"<mover>{arrow}{above}</mover>"
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
        if name in ("hspace", "hspace*"):
            length = _LENGTH.fullmatch(self.words("{", "}"))
            return f'<mspace width="{length[0]}"></mspace>' if length else ""
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
        if name in COLUMNS:
            self.words("{", "}")
        table = self.rows(name, ' class="left"' if "cases" in name or "align" in name else "")
        opening, closing = (f"<mo>{sign}</mo>" if sign else "" for sign in FENCES.get(name, ("", "")))
        return f"<mrow>{opening}{table}{closing}</mrow>"

    def words(self, opening: str, closing: str) -> str:
        """The plain text between two signs."""
        self.skip_spaces()
        if self.take() != opening:
            raise _UnknownError
        parts, inside = [], 1
        while inside:
            token = self.take()
            inside += (token == opening) - (token == closing)
            parts.append(token)
        return "".join(parts[:-1])

    def text(self) -> str:
        """Words, in which there may be formulas between dollars."""
        self.skip_spaces()
        if (first := self.take()) != "{":
            return _text(first)
        parts, words, inside = [], "", 1
        while inside:
            token = self.take()
            inside += {"{": 1, "}": -1}.get(token, 0)
            if token in ("$", "\\("):
                parts += [_text(words), self.row({"$", "\\)"})[0]]
                words = ""
            elif token.startswith("\\") and token[1:] not in TEXTS:
                sign = " " if token[1:] in SPACES else SIGNS.get(token[1:])
                if sign is None:
                    raise _UnknownError
                words += sign
            elif token not in ("{", "}") and token[0] != "\\":
                words += " " if token == "~" else token
        return f"<mrow>{''.join(parts)}{_text(words)}</mrow>"

    def letters(self, alphabet: str) -> str:
        self.skip_spaces()
        letters = self.words("{", "}") if self.peek() == "{" else self.take()
        return f"<mi>{escape(''.join(html5.get(f'{letter}{alphabet};', letter) for letter in letters))}</mi>"

    def option(self) -> str:
        """What stands in brackets, if anything does."""
        self.skip_spaces()
        if self.peek() != "[":
            return ""
        self.take()
        return self.row({"]"})[0]

    def stack(self) -> str:
        """Lines of a group, below each other."""
        self.skip_spaces()
        if self.take() != "{":
            raise _UnknownError
        lines, stop = [], ""
        while stop != "}":
            line, stop = self.row({"}", *_BREAKS})
            lines.append([line])
        return _table(lines)


def _table(rows: list[list[str]], css: str = "") -> str:
    cells = ["".join(f"<mtd>{cell}</mtd>" for cell in row) for row in rows]
    return f"<mtable{css}>{''.join(f'<mtr>{row}</mtr>' for row in cells)}</mtable>"


def _fraction(above: str, below: str, brackets: str = "", *, line: bool = True) -> str:
    thickness = "" if line else ' linethickness="0"'
    fraction = f"<mfrac{thickness}>{above}{below}</mfrac>"
    return f"<mrow><mo>{brackets[0]}</mo>{fraction}<mo>{brackets[1]}</mo></mrow>" if brackets else fraction


def _text(words: str) -> str:
    return f"<mtext>{escape(' '.join(words.splitlines())).replace(' ', chr(0xA0))}</mtext>" if words else ""


def _operator(sign: str) -> str:
    """A sign; brackets that nothing said to grow stay as they are."""
    return f"<mo{_FIXED if sign in BRACKETS else ''}>{escape(sign)}</mo>"
