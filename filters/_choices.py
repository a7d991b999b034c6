"""What a response to a multiple-choice question states: the letter of an option, in any dress, or its text.

Nothing here knows which option is right; that is `filters.verify_choice`.
"""

import re
from collections.abc import Iterator

from filters._answers import boxed_answers, extract_answer
from filters._options import Options, letter_of

SEVERAL, CONTRADICTION, NO_SUCH_OPTION = "several_answers", "letter_contradicts_text", "no_such_option"
FAULTS = (CONTRADICTION, SEVERAL, NO_SUCH_OPTION)
"""What a statement may be instead of a letter, the worst first."""

MAX_STATEMENT_CHARS = 400
MAX_STATEMENTS = 32
"""Of more statements in one style, the last ones are read: bounds the work on hostile text."""

# ------------------------------------------------------------------------------------------ what one statement chooses

_DRESS = re.compile(
    r"\\(?:text|math)[a-z]{0,4}(?![a-z])|\\(?:bf|rm|mbox|boldsymbol|boxed|fbox|left|right|displaystyle)(?![a-z])"
    r"|[\\${}*_`\"“”#]"
)
_FILLER = re.compile(
    r"(?:(?:so|therefore|thus|hence|indeed|clearly|most likely|likely|probably|definitely|then|the|correct|right|best"
    r"|final|answer|option|choice|letter|alternative)\b[\s,:]*)*",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"(?:an?|the)\s+", re.IGNORECASE)
_ALONE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?[.,:;!]*")
_LETTER = r"[(\[]?[A-Za-z][)\]]?(?![\w'’^])"
_SEVERAL = re.compile(
    rf"(?:both |either )?{_LETTER}(?:\s*(?:,|/|&|,? ?\band\b|,? ?\bor\b)\s*(?:option )?{_LETTER})+", re.IGNORECASE
)
_CHOICE = re.compile(r"[(\[]?([A-Za-z])(?![\w'’^])(\s?[)\]])?\s?([.:,;–—]|-(?=\s))?(?!\s*[=+*/<>^])(.*)", re.DOTALL)
_REASON = re.compile(r"(?:because|since|as|for|due|is|was|and|with|based|where|which|by|from|[(–—-])(?!\w)", re.I)
_CLAUSE = re.compile(r"\n|[.!?](?:\s|$)|[,;:(]\s?|\s(?:because|since|as|which|where|due|is|[–—-])\s", re.IGNORECASE)


def choice(statement: str, options: Options, *, whole: bool = False) -> str | None:
    r"""What a statement such as ``\text{(B)}``, ``B) Paris``, ``option b`` or ``Paris`` chooses.

    A letter, one of `FAULTS`, or None where it chooses nothing. With ``whole`` nothing may stand beside the choice.
    A lone letter is a letter, unless it is no option's letter, or small, and the text of an option.
    """
    statement = statement[:MAX_STATEMENT_CHARS].strip(" \t\n*_`")
    plain = _DRESS.sub("", statement).strip()
    plain = plain[_filler(plain) :].strip()
    named = letter_of(statement, options) or letter_of(statement[_filler(statement) :], options)
    if alone := _ALONE.fullmatch(plain):
        letter = alone[1].upper()
        is_text = named and (alone[1].islower() or letter not in options)
        return named if is_text else NO_SUCH_OPTION if options and letter not in options else _first(letter, options)
    if named:
        return named
    if _is_several(plain, options, whole):
        return SEVERAL
    return _lettered(plain, options, whole) or (None if whole else _worded(statement, options))


def _filler(text: str) -> int:
    found = _FILLER.match(text)
    return found.end() if found else 0


def _first(letter: str, options: Options) -> str:
    """Options of the same text are one option."""
    return (letter_of(options[letter], options) if letter in options else None) or letter


def _is_several(plain: str, options: Options, whole: bool) -> bool:
    found = _SEVERAL.match(plain)
    if not found or (whole and found.end() < len(plain.rstrip("."))):
        return False
    letters = set(re.findall(r"\b[A-Z]\b", found[0])) & set(options or "ABCDEFGH")
    return len({_first(letter, options) for letter in letters}) > 1


def _lettered(plain: str, options: Options, whole: bool) -> str | None:
    """A letter with something behind it: the text of the option, or a reason."""
    found = _CHOICE.fullmatch(plain)
    if not found:
        return None
    letter, closed, delimiter, rest = found[1].upper(), found[2], found[3], found[4].strip()
    if not closed and not delimiter and (whole or found[1].islower() or (letter in "AI" and not _REASON.match(rest))):
        return None  # an article, a pronoun, a variable
    if found[1].islower() and not closed and delimiter not in (".", ":"):
        return None
    if options and letter not in options:
        return NO_SUCH_OPTION if closed and not whole else None
    bare = {name: _DRESS.sub("", text) for name, text in options.items()}
    named = letter_of(rest, options) or letter_of(rest.strip("()."), bare) or _worded(rest, options)
    if named and named != _first(letter, options):
        return CONTRADICTION
    return _first(letter, options) if named or not whole or not options else None


def _worded(text: str, options: Options) -> str | None:
    """The option whose text stands there with an article or with an explanation."""
    ends = [len(text), *(found.start() for found in _CLAUSE.finditer(text))]
    for end in ends[:8]:
        words = text[:end].strip(" *_`")
        article = _ARTICLE.match(words)
        if named := letter_of(words, options) or (letter_of(words[article.end() :], options) if article else None):
            return named
    return None


# --------------------------------------------------------------------------------------------- statements of a response

_BOX = re.compile(r"\\(?:boxed|fbox)")
_JSON = re.compile(r'"(?:final_|correct_)?(?:answer|choice|option)"\s*:\s*"((?:[^"\\]|\\.){1,400})"', re.IGNORECASE)
_STATED = re.compile(
    r"(?P<doubt>\b(?:if|whether|suppose|assuming|unless|when)[ \t]{1,4}(?:that[ \t]{1,4})?)?"
    r"(?:\b(?:the|my|our)[ \t]{1,4})?(?:\b(?:single|final|correct|right|best|most appropriate)[ \t]{1,4}){0,3}"
    r"(?:\b(?:answer|choice|option|alternative)(?:[ \t]{1,4}(?:choice|option|letter))?\b[ \t*_\"`]{0,6}"
    r"(?:[ \t](?:to|for|of|in)[ \t][^\n.:]{1,80}?[ \t*]{1,4})?"
    r"(?:\bis\b|\b(?:would|must|should|has to)[ \t]be\b|[:：=→]|-+>|[-–—](?=[ \t]))"
    r"|\b(?P<denied>(?:not|never|\w{2,6}n['’]t)[ \t]{1,4})?"
    r"(?:choose|chose|pick|picked|select|selected|opt for|go with)[ \t])"
    r"[\s*_`:：]{0,8}",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"(?:(?:\b(?i:option|choice|answer|alternative)[ \t]+[(*_`\"$]{0,4}([A-Za-z])|(?<![\w(])\(([A-Za-z])(?=\)))"
    r"(?![\w'’])[)*_`\"$.:]{0,4}(?:[ \t]{1,4}(?!(?:is|not)\b)[^\s.();]{1,40}){0,12}"
    r"|(?<![\w'’(])([A-Z])(?![\w'’])[)*_`\"$]{0,4})"
    r"[ \t]{1,4}is[ \t]{1,4}(?:(?:therefore|thus|indeed|clearly|the|most)[ \t]{1,4}){0,3}"
    r"(?:correct|right|best|answer)\b"
)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")


def choices_stated(response: str, options: Options) -> list[tuple[str, str]]:
    """The choices of a response and the words that state them: those of the strongest style that states any.

    Styles, in order: boxes; JSON ``"answer": "B"``; sentences and labels such as "The correct option is B",
    "Answer: B" and "(B) is correct", or where there are none the further ones that `extract_answer` knows; a first or
    last line that is nothing but a choice; bold type. Doubt ("if the answer is B") and denial state nothing.
    """
    for statements, whole in _styles(response):
        found = [(choice(words, options, whole=whole), words.strip()) for words in statements[-MAX_STATEMENTS:]]
        if stated := [(chosen, words) for chosen, words in found if chosen]:
            return stated
    return []


def _styles(response: str) -> Iterator[tuple[list[str], bool]]:
    boxes = [found.start() for found in _BOX.finditer(response)][-MAX_STATEMENTS:]
    yield [content for _, _, content in boxed_answers(response[boxes[0] :])] if boxes else [], False
    yield _JSON.findall(response)[-1:], False
    stated = list(_sentences(response))
    yield stated or [extract_answer(response) or ""], False
    lines = [line for line in response.splitlines() if line.strip()]
    yield lines[:1] + lines[-1:], True
    yield _BOLD.findall(response), True


def _sentences(response: str) -> Iterator[str]:
    for found in _STATED.finditer(response):
        if not found["doubt"] and not found["denied"]:
            yield response[found.end() : found.end() + MAX_STATEMENT_CHARS].partition("\n")[0]
    for found in _CORRECT.finditer(response):
        yield found[1] or found[2] or found[3]
