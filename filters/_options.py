r"""The options of a multiple-choice question, and which of them has a given text.

Texts are compared as written, after `canonical_answer`: that 0.5 is \frac{1}{2} is known, that \sqrt{8} is
2\sqrt{2} is not.
"""

import json
import re
from functools import lru_cache
from string import ascii_uppercase

from filters._answers import canonical_answer

Options = dict[str, str]
"""Capital letter to text, in order; empty where the options are not known."""

_LINE_MARK = re.compile(
    r"^[ \t>*_$-]{0,6}(?:\\(?:text|math)\w{0,4}\{)?\(?([A-Za-z])(?:\)|[.:](?=[\s*])|\*\*[).:]?)", re.MULTILINE
)
_INLINE_MARK = re.compile(r"(?<![\w(])\(?([A-Za-z])\)(?!\w)")
_LATEX_SPACE = re.compile(r"\\q?quad(?![a-zA-Z])|\\[ ~]|~|\\(?:text|math)\w{0,4}\{\s*$")


@lru_cache(maxsize=256)
def options_of(options: str | None, problem: str | None) -> Options:
    """The options: of a JSON list of texts or object of letters; where that is null, of the problem's own text.

    In a problem they stand after ``A)``, ``(A)``, ``A.`` or ``A:`` at the beginnings of lines, or after ``(A)`` or
    ``A)`` anywhere, in the order of the alphabet. Where there are several such lists, as behind worked examples, the
    longest counts, and the last of equals.

    Raises:
        ValueError: The JSON is neither of the two, or has fewer than two options.
    """
    if options is not None:
        try:
            return _listed(json.loads(options))
        except RecursionError:
            raise ValueError("options are nested too deeply") from None
    return _marked(problem or "", _LINE_MARK) or _marked(problem or "", _INLINE_MARK)


def _listed(options: object) -> Options:
    if isinstance(options, list):
        options = dict(zip(ascii_uppercase, options, strict=False)) if len(options) <= len(ascii_uppercase) else None
    if not isinstance(options, dict) or len(options) < 2:
        raise ValueError("options are a list of 2 to 26 texts, or an object of letters and texts")
    if not all(re.fullmatch("[A-Za-z]", letter) for letter in options):
        raise ValueError("options are named by single letters")
    if not all(isinstance(text, str | int | float) for text in options.values()):
        raise ValueError("options are texts or numbers")
    texts = {letter.upper(): str(text) for letter, text in options.items()}
    marks = [re.match(rf"\s*\(?{letter}[).:]\s+", text) for letter, text in texts.items()]
    ends = [mark.end() if mark and all(marks) else 0 for mark in marks]  # texts may repeat their letters
    return {letter: text[end:] for (letter, text), end in zip(texts.items(), ends, strict=True)}


def _marked(problem: str, mark: re.Pattern[str]) -> Options:
    runs: list[list[re.Match[str]]] = []
    for found in mark.finditer(problem):
        if runs and ord(found[1]) == ord(runs[-1][-1][1]) + 1:
            runs[-1].append(found)
        elif found[1] in "Aa":
            runs.append([found])
    run = max(reversed(runs), key=len, default=[])
    if len(run) < 2:
        return {}
    last = problem.find("\n", run[-1].end())
    ends = [*(found.start() for found in run[1:]), last if last >= 0 else len(problem)]
    return {found[1].upper(): _text(problem[found.end() : end]) for found, end in zip(run, ends, strict=True)}


def _text(text: str) -> str:
    text = _LATEX_SPACE.sub(" ", text.strip().removeprefix("}"))
    return text.strip(" \n\t*,;" if text.count("$") % 2 == 0 else " \n\t*,;$")


@lru_cache(maxsize=4096)
def spelling(text: str) -> str:
    """One spelling of an option's text."""
    return canonical_answer(" ".join(text.split()))


def letter_of(text: str, options: Options) -> str | None:
    """The first option with this text; in other capitals too, if only one is meant."""
    wanted = spelling(text)
    if not wanted:
        return None
    spellings = {letter: spelling(option) for letter, option in options.items()}
    alike = [letter for letter, spelled in spellings.items() if spelled.casefold() == wanted.casefold()]
    exact = [letter for letter in alike if spellings[letter] == wanted]
    found = exact or alike
    return found[0] if len({spellings[letter] for letter in found}) == 1 else None
