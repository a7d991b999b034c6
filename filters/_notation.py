"""Notation of final answers: one spelling for what differs only in writing, and the exact value of plain numbers.

Nothing here does algebra or knows of tolerances; that is `filters.verify_math`. Answers are untrusted text: they are
rewritten with patterns that run in linear time and are never evaluated.
"""

import re
from collections.abc import Callable
from fractions import Fraction

MAX_NUMBER_CHARS = 200
"""Longer digit strings are compared as text: big integers are a way to stall the caller."""
MAX_LIST_CHARS = 2_000
"""Longer lists are compared as text."""
MAX_NESTING = 8
"""Wrappers within wrappers that are taken off: bounds the work on hostile text."""

_WRAPPERS = (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"), ('"', '"'), ("{", "}"))
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | dict.fromkeys(map(ord, "−–－"), "-")
_FULL_WIDTH |= {ord("，"): ", ", ord("、"): ", ", ord("。"): ". "}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit|textrm)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right|displaystyle|quad|qquad)(?![a-zA-Z])|(?<!\\)\\[!,;:> ]|~"), " "),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\frac ?(\d)(\d)(?!\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\leqslant(?![a-zA-Z])"), r"\\leq"),
    (re.compile(r"\\geqslant(?![a-zA-Z])"), r"\\geq"),
    (re.compile(r"\\([%$#&_])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile("[₀-₉]+"), lambda m: "_" + "".join(str(ord(c) - ord("₀")) for c in m[0])),
    (re.compile("[⁰¹²³⁴-⁹⁺⁻]+"), lambda m: "^{" + m[0].translate(_SUPERSCRIPTS) + "}"),
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"), "°"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<![\d.,(\[])(?<!\\\{)[1-9]\d{0,2}(?:,\d{3})+(?!\d)"), lambda m: m[0].replace(",", "")),
    (re.compile(r"^[-+$€£¥]? ?[1-9]\d{0,2}(?: \d{3})+(?![\d/])"), lambda m: m[0].replace(" ", "")),
    (re.compile(r"(?<=[(\[{]) | (?=[)\]},])"), ""),
    (re.compile(r"^(?:\\approx|≈) ?"), ""),
    (re.compile(r"^\(([A-Za-z])\)$"), r"\1"),
]
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_DIGITS = r"(\d+(?:\.\d*)?|\.\d+)"
_FRACTION = re.compile(r"([-+]?) ?(\d*) ?\\frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(-?\d+)\s*\}")
_MIXED = re.compile(r"([-+]?)(\d+)(?: | and )(\d+) ?/ ?(\d+)")
_NUMBER = re.compile(rf"([-+]?)(?:[$€£¥] ?)?([-+]?){_DIGITS}(?: ?/ ?(\d+))?")
_SCIENTIFIC = re.compile(
    rf"([-+]?)(?:{_DIGITS} ?(?:\\times|\\cdot|×|·|\*|x) ?)?10 ?\^ ?\{{? ?([-+]?\d{{1,3}}) ?\}}?"
    rf"|([-+]?){_DIGITS}[eE]([-+]?\d{{1,3}})"
)
_LIST = re.compile(r"(\\\{(?=.*\\\}$)|[(\[](?=.*[)\]]$)|)([^()\[\]]*?)(\\\}|[)\]]|)", re.DOTALL)
_UNIT = r"%|[€£¥元]|°|°? ?[^\W\d_]+\.?(?:[ °/*^-]+[^\W\d_]+)*(?:\^?\{?[23]\}?)?"
_QUANTITY = re.compile(rf"(.*?(?:[\d.}})]|\\pi|π))( ?)({_UNIT})")
_LETTER_UNITS = frozenset("mgshlLNJWVK")
"""Units of one letter, where a space stands before them. ``2 x`` and ``2m`` are products."""
_NO_UNIT = re.compile(
    "and|or|if|when|pi|sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|mod|th|st|nd|rd|infinity|[^mgshlLNJWVK]"
)
_KNOWN_UNIT = re.compile(
    r"(?:[mcdk]m|in|inch|ft|yd|yard|mi|mile|[km]g|lb|pound|oz|ounce|ton|hr|hour|min|minute|sec|second|day|week|month"
    r"|year|ml|lit(?:er|re)|gallon|mph|kmh|(?:km|m|ft|mi)/(?:h|hr|s|sec|min)|rad|radian|cent|euro|unit|°[cf]?|hz|pa"
    r"|mol|[%$€£¥元])(?:\^?\{?[23]\}?)?"
)
"""Units that are recognised behind any expression; behind a plain number every word is one."""
_ALIASES = {"degree": "°", "deg": "°", "inche": "inch", "feet": "ft", "foot": "ft", "percent": "%", "dollar": "$"}


def canonical_answer(answer: str) -> str:
    r"""One spelling for answers that differ only in notation: white space, ``$``, ``\text``, thousands, ``1.50``.

    Equal canonical forms mean equal answers; different ones mean nothing. Majority votes group by it.
    """
    squeezed = squeeze_answer(answer)
    number = as_number(squeezed)
    return squeezed if number is None else str(number)


def squeeze_answer(answer: str) -> str:
    """The answer without markup that carries no mathematics."""
    text = answer.translate(_FULL_WIDTH).strip()
    for _ in range(MAX_NESTING):
        before = text
        text = text.lstrip("# \n").rstrip(". \n\\")
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
                inner = text[len(opening) : -len(closing)]
                if opening not in inner and closing not in inner:
                    text = inner.strip()
        for pattern, replacement in _REWRITES:
            text = pattern.sub(replacement, text)
        text = text.strip()
        if text == before:
            break
    return text


def is_text(squeezed: str) -> bool:
    """Whether an answer is plain words, such as a name, whose letters are not to be multiplied."""
    words = _WORDS.fullmatch(squeezed)
    return words is not None and (
        squeezed.casefold() in ("yes", "no") or re.search(r"\w{4}|[^\x00-\u03ff]", squeezed) is not None
    )


def as_number(squeezed: str) -> Fraction | None:
    """The exact value of a plain number, after `squeeze_answer`; None for all else.

    Plain are integers, decimals, simple fractions, mixed numbers and scientific notation.
    """
    if len(squeezed) > MAX_NUMBER_CHARS:
        return None
    if fraction := _FRACTION.fullmatch(squeezed) or _MIXED.fullmatch(squeezed):
        sign, whole, numerator, denominator = fraction.groups()
        if not int(denominator) or (whole and "-" in numerator + denominator):
            return None
        value = int(whole or 0) + Fraction(int(numerator), int(denominator))
        return -value if sign == "-" else value
    if number := _NUMBER.fullmatch(squeezed):
        sign, inner_sign, digits, denominator = number.groups()
        if (sign and inner_sign) or (denominator is not None and not int(denominator)):
            return None
        value = Fraction(digits) / int(denominator or 1)
        return -value if "-" in (sign, inner_sign) else value
    if scientific := _SCIENTIFIC.fullmatch(squeezed):
        sign, digits, exponent, e_sign, e_digits, e_exponent = scientific.groups()
        value = Fraction(digits or e_digits or 1) * Fraction(10) ** int(exponent or e_exponent)
        return -value if "-" in (sign, e_sign) else value
    return None


def as_numbers(squeezed: str) -> tuple[str, list[Fraction]] | None:
    """Brackets and values of a list of plain numbers, such as ``[)`` of ``[0, 1)``; None for all else.

    One number is a list of one. The brackets of a set are empty, like those of a list that has none.
    """
    parts = _LIST.fullmatch(squeezed)
    if parts is None or len(squeezed) > MAX_LIST_CHARS:
        return None
    numbers = [as_number(part.strip()) for part in re.split("[,;]", parts[2])]
    if not all(number is not None for number in numbers):
        return None
    values = [number for number in numbers if number is not None]
    return "" if parts[1] in ("", "\\{") else parts[1] + parts[3], values


def split_unit(squeezed: str) -> tuple[str, str]:
    """Magnitude and unit of a quantity such as ``12 minutes`` or ``50%``; the unit is empty where there is none."""
    quantity = _QUANTITY.fullmatch(squeezed) if len(squeezed) <= 2 * MAX_NUMBER_CHARS else None
    if quantity is None or as_number(squeezed) is not None:
        return squeezed, ""
    magnitude, space, unit = quantity.groups()
    name = unit.replace(" ", "").replace(".", "").lower()
    name = name if len(name) < 3 else name.rstrip("s")
    name = _ALIASES.get(name, name)
    letter = space and unit.rstrip("^{}23") in _LETTER_UNITS
    known = bool(letter or name > "\u3000" or _KNOWN_UNIT.fullmatch(name))
    if as_number(magnitude) is None:
        return (magnitude, name) if known and (len(name) > 1 or name == "%") else (squeezed, "")
    words = re.findall(r"[^\W\d_]+", unit)
    is_word = space and not any(_NO_UNIT.fullmatch(word) for word in words)
    return (magnitude, name) if known or is_word else (squeezed, "")
