"""Reading model text: the final answer that it states, and that answer's canonical form. The one home of both.

Nothing here decides whether two answers are equal in mathematics; that is `filters.verify_math`. Model text is
untrusted: it is searched with patterns that run in linear time and is never evaluated.
"""

import re
from collections.abc import Callable
from fractions import Fraction

MAX_NUMBER_CHARS = 200
"""Longer digit strings are compared as text: big integers are a way to stall the caller."""

# ---------------------------------------------------------------------------------------------- final answers

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BETWEEN_BOXES = re.compile(r"[\s$,;&.]{0,6}(?:and|or|\\text\{\s*(?:and|or)\s*\}|\\quad)?[\s$,;&.]{0,6}")
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_LABEL = re.compile(
    r"^[ \t>*_#]*(?:final[ \t]+)?(?:A|answer)\"?[ \t*_]*:[ \t*_]*(\S[^\n]*)$", re.MULTILINE | re.IGNORECASE
)
_SENTENCE = re.compile(r"\banswer[ \t]{1,4}is[ \t]{0,4}:?[ \t*_]{0,8}([^\s:][^\n]*)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?:[\s\"']|$)")
_JSON = re.compile(r'"(?:final_)?answer"\s*:\s*(?:"((?:[^"\\]++|\\.)*+)"|(-?\d[\d.,]*|\[[^\]\n]*\]))', re.DOTALL)
_NUMERIC_LINE = re.compile(r"[-+$\\(]*\d[\d.,/ %)]*")


def extract_answer(text: str) -> str | None:
    r"""The final answer that a response states, or None if it states none.

    Looks for, in this order: the last ``\boxed{…}`` (neighbouring boxes are one answer), ``#### 18``, a line
    ``A: 18`` or ``Answer: 18``, "the answer is 18", and JSON ``"answer": "18"``. Of several in one style, the
    last counts. Prose in front of a JSON answer is the reasoning of that JSON object and is not searched. A number
    somewhere in the text is not an answer.
    """
    json_answer, json_end = _json(text)
    for find in (_boxed, _hashes):
        if answer := (find(text) or "").strip():
            return answer
    for find in (_label, _sentence):
        if answer := (find(text[json_end:]) or "").strip():
            return answer
    return json_answer.strip() or None


def boxed_answers(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every complete box, in order. Boxes that never close are left out."""
    boxes: list[tuple[int, int, str]] = []
    for match in _BOXED.finditer(text):
        if boxes and match.start() < boxes[-1][1]:
            continue  # a box within a box
        end = _closing_brace(text, match.end())
        if end is not None:
            boxes.append((match.start(), end + 1, text[match.end() : end]))
    return boxes


_MAX_BOX_CHARS = 20_000
"""Where a box has not closed after this many characters, it never closed: bounds the search on hostile text."""


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start, start + _MAX_BOX_CHARS):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _boxed(text: str) -> str | None:
    starts = [m.start() for m in _BOXED.finditer(text)][-16:]
    boxes = boxed_answers(text[starts[0] :]) if starts else []
    if not boxes:
        return None
    offset, answers = starts[0], [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if not _BETWEEN_BOXES.fullmatch(text, offset + box[1], offset + answers[0][0]):
            break
        answers.insert(0, box)
    contents = list(dict.fromkeys(content.strip() for _, _, content in answers))
    first = offset + answers[0][0]
    escaped = len(text[:first]) - len(text[:first].rstrip("\\"))
    joined = ", ".join(contents)
    # Inside a JSON string every backslash of LaTeX is doubled.
    return joined.replace("\\\\", "\\") if escaped % 2 else joined


def _hashes(text: str) -> str | None:
    matches = _HASHES.findall(text)
    if not matches:
        return None
    last_line = text.rstrip().rpartition("\n")[2].lstrip()
    # "#### Step 3" is a Markdown heading; GSM8K's mark ends the text or carries a bare number.
    is_mark = last_line.startswith("####") or _NUMERIC_LINE.fullmatch(matches[-1].strip())
    return str(matches[-1]) if is_mark else None


def _label(text: str) -> str | None:
    matches = _LABEL.findall(text)
    return _bare(matches[-1]) if matches else None


def _sentence(text: str) -> str | None:
    matches = _SENTENCE.findall(text)
    return _bare(_SENTENCE_END.split(matches[-1], maxsplit=1)[0]) if matches else None


def _json(text: str) -> tuple[str, int]:
    """The last JSON answer and where it ends; an empty one and 0 if there is none."""
    matches = list(_JSON.finditer(text))
    if not matches:
        return "", 0
    string, literal = matches[-1].groups()
    # Models write LaTeX into JSON with and without doubling the backslash; both must read the same.
    return literal or re.sub(r'\\([\\"])', r"\1", string).replace("\\n", "\n"), matches[-1].end()


def _bare(answer: str) -> str:
    return answer.strip().strip("*_`").rstrip(",;").strip().strip('"`').strip()


# ------------------------------------------------------------------------------------------- canonical answers

_WRAPPERS = (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"), ('"', '"'), ("{", "}"))
_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right|displaystyle|!|,|;|:|>)(?![a-zA-Z])|~"), ""),
    (re.compile(r"\\[dt]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\([%$#&_])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile("[\u2212\u2013]"), "-"),
    (re.compile("[₀-₉]+"), lambda m: "_" + "".join(str(ord(c) - ord("₀")) for c in m[0])),
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"), "°"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\s+"), " "),
]
_FRACTION = re.compile(r"([-+]?)\\frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(-?\d+)\s*\}")
_NUMBER = re.compile(r"([-+]?)(?:[$€£] ?)?([-+]?)(\d+(?:\.\d*)?|\.\d+)(?: ?/ ?(\d+))?")
_QUANTITY = re.compile(r"(.*?[\d.}]) ?(%|°|[a-zA-Z][a-zA-Z .°]*(?:\^?[23])?)")


def canonical_answer(answer: str) -> str:
    r"""One spelling for answers that differ only in notation: white space, ``$``, ``\text``, thousands, ``1.50``.

    Equal canonical forms mean equal answers; different ones mean nothing. Majority votes group by it.
    """
    squeezed = squeeze_answer(answer)
    number = as_number(squeezed)
    return squeezed if number is None else str(number)


def squeeze_answer(answer: str) -> str:
    """The answer without markup that carries no mathematics."""
    text = answer.strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text, before = text.strip(), None
    while text != before:
        before = text
        text = text.lstrip("# \n").rstrip(". \n")
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
                inner = text[len(opening) : -len(closing)]
                if opening not in inner and closing not in inner:
                    text = inner.strip()
    return text


def as_number(squeezed: str) -> Fraction | None:
    """The exact value of an integer, decimal or simple fraction, after `squeeze_answer`; None for all else."""
    if len(squeezed) > MAX_NUMBER_CHARS:
        return None
    if fraction := _FRACTION.fullmatch(squeezed):
        sign, numerator, denominator = fraction.groups()
        value = Fraction(int(numerator), int(denominator)) if int(denominator) else None
        return value if value is None or sign != "-" else -value
    if number := _NUMBER.fullmatch(squeezed):
        sign, inner_sign, digits, denominator = number.groups()
        if (sign and inner_sign) or (denominator is not None and not int(denominator)):
            return None
        value = Fraction(digits) / int(denominator or 1)
        return -value if "-" in (sign, inner_sign) else value
    return None


def split_unit(squeezed: str) -> tuple[str, str]:
    """Number and unit of a quantity such as ``12 minutes`` or ``50%``; the unit is empty where there is none."""
    quantity = _QUANTITY.fullmatch(squeezed[: 2 * MAX_NUMBER_CHARS])
    if quantity is None or as_number(quantity[1]) is None or len(squeezed) > 2 * MAX_NUMBER_CHARS:
        return squeezed, ""
    return quantity[1], quantity[2].strip().lower().rstrip("s")
