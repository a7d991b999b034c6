"""Multiple choice: the options of a question, and which of them a response states, by letter or by text."""

import json
import re
from collections.abc import Mapping

from filters._answers import canonical_answer, extract_answer

_LISTED = re.compile(r"^[ \t>*_-]*\(?([A-Z])[).:\]][ \t*_]+(\S[^\n]*)$", re.MULTILINE)
_INLINE = re.compile(r"\(([A-Z])\)[ \t]+(\S(?:(?!\([A-Z]\))[^\n])*)")
_DRESS = re.compile(r"\\(?:text|textbf|mathbf|mathrm|textit|mathit|boxed|mbox)\s*(?=\{)|[{}$*_`\\\"'“”‘’]|\\[()\[\]]")
_CHOICE = r"(?:option|choice|answer|alternative)?\s*"
_LETTER = re.compile(rf"^{_CHOICE}[(\[]?([A-Z])[)\]]?[.:,;)]*(?:\s+(.*))?$", re.IGNORECASE | re.DOTALL)
_STATED = re.compile(
    r"\b(?:answer|choice|option)[ \t]{1,4}(?:is|would be|should be|must be|:)[ \t]{0,4}"
    r"(?:therefore|thus|clearly|option|choice)?[ \t*_:]{0,6}[(\[]?(A(?!\s+[a-z])|[B-Z])(?![A-Za-z'’])[)\]]?",
)
_LAST_LINE = re.compile(r"^[ \t*_]*[(\[]?([A-Z])[)\]]?[ \t*_.]*$")


def read_options(options: str | None, problem: str) -> dict[str, str]:
    """Letter to text, from JSON (a list of texts, or a mapping of letters) or else from the lines of the problem.

    Empty where there are none. Raises ValueError where ``options`` is given and cannot be read.
    """
    if options is not None:
        given = json.loads(options)
        if isinstance(given, list):
            given = {chr(ord("A") + place): text for place, text in enumerate(given)}
        if not isinstance(given, Mapping) or not given or len(given) > 26:
            raise ValueError("options are a list of texts, or a mapping of letters to texts")
        return {str(letter).strip().upper(): str(text) for letter, text in given.items()}
    for pattern in (_LISTED, _INLINE):
        found = _in_order(pattern.findall(problem))
        if len(found) > 1:
            return found
    return {}


def _in_order(found: list[tuple[str, str]]) -> dict[str, str]:
    """The last run A, B, C, … of what looks like options: an article at the beginning of a line is none."""
    options: dict[str, str] = {}
    for letter, text in found:
        if letter == "A":
            options = {}
        if letter == chr(ord("A") + len(options)):
            options[letter] = text.strip()
    return options


def stated_letters(response: str, options: Mapping[str, str]) -> set[str]:
    """The options that the final answer names, by letter or by text; several where it contradicts itself.

    A letter beyond the options is returned as it is, so that it is wrong and not absent.
    """
    answer = extract_answer(response)
    found = _letters_of(answer, options) if answer is not None else set()
    if not found and (stated := _STATED.findall(response)):
        found = {stated[-1].upper()}
    if not found and (last := _LAST_LINE.match(response.rstrip().rpartition("\n")[2])):
        found = {last[1].upper()}
    return found


def _letters_of(answer: str, options: Mapping[str, str]) -> set[str]:
    """A letter, a letter with its text, several letters, or an option's text."""
    by_text = _by_text(answer, options)
    if by_text:
        return by_text
    plain = _DRESS.sub(" ", answer).strip().rstrip(".")
    several = re.split(r"\s*(?:,|;|/|\band\b|\bor\b)\s*", plain)
    if len(several) > 1 and all(re.fullmatch(r"[(\[]?[A-Z][)\]]?", part) for part in several):
        return {part.strip("()[]") for part in several}
    if not (letter := _LETTER.match(plain)):
        return set()
    behind = (letter[2] or "").strip()
    # "A triangle" begins with an article, "A) triangle" and "B triangle" with a letter.
    marked = re.match(rf"^{_CHOICE}(?:[(\[][A-Za-z]|[A-Za-z][).:\]])", plain, re.IGNORECASE)
    if not behind or marked:
        return {letter[1].upper()} | _by_text(behind, options)
    return set()


def _by_text(answer: str, options: Mapping[str, str]) -> set[str]:
    """The options whose text the answer is; none where two read the same."""
    wanted = canonical_answer(answer).casefold()
    found = {letter for letter, text in options.items() if wanted and canonical_answer(text).casefold() == wanted}
    return found if len(found) == 1 else set()
