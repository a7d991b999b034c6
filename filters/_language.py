"""Which language a text is in: scripts first, then words that every text of a language has, then a detector.

The home of the detectors. Does not say what is foreign in a text, and knows `LANGUAGES` only.
"""

import heapq
from collections import Counter
from functools import cache
from typing import Any, Literal

import polars as pl

from filters._stopwords import STOPWORDS
from filters._verdict import FilterError

Detector = Literal["langdetect", "pycld2"]

SCRIPTS = {
    "ar": "Arabic", "fa": "Arabic", "ur": "Arabic", "bg": "Cyrillic", "mk": "Cyrillic", "ru": "Cyrillic",
    "uk": "Cyrillic", "el": "Greek", "he": "Hebrew", "hi": "Devanagari", "mr": "Devanagari", "ne": "Devanagari",
    "bn": "Bengali", "gu": "Gujarati", "kn": "Kannada", "ml": "Malayalam", "pa": "Gurmukhi", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "zh": "Han", "ja": "Han Hiragana Katakana", "ko": "Hangul",
}  # fmt: skip
"""Scripts of the languages that are not written in Latin letters, by ISO 639-1 code."""
LANGUAGES = tuple(sorted({*SCRIPTS, *STOPWORDS}))
UNDECIDED = "undecided"
_MOST_USED = {"Arabic": "ar", "Cyrillic": "ru", "Devanagari": "hi"}
"""Languages of texts in these scripts that say too little. In Latin letters a formula looks the same."""

# A dollar before a space opens no formula: it is a price. What opens twice before it closes is no formula either, else
# a loop of openings would be searched to its end from each of them.
NEUTRAL = (
    r"(?s:```.*?```)|`[^`\n]*`|\$[^$\s](?:[^$\n]{0,198}[^$\s])?\$|\$\$(?:[^\n]|\n[^\n])*?\$\$"
    r"|\\\((?:[^\n\\]|\\[^(\n])*?\\\)|\\\[(?:[^\n\\]|\\[^\[\n]|\n[^\n])*?\\\]"
    r"|https?://\S+|\\[a-zA-Z]+|<<[^<>\n]*>>"
    r"|“[^”\n]{1,80}”|\"[^\"\n]{1,80}\"|«[^»\n]{1,80}»|「[^」\n]{1,80}」|『[^』\n]{1,80}』|《[^》\n]{1,80}》"
)
"""What may stand in any language: code, mathematics, addresses and short quotations."""

CONFIDENCE = 0.95
"""Least probability that a detector must give to a language to be believed."""
_BETWEEN_WORDS = {code: " " for code in range(128) if not chr(code).isalpha()}
TELLING_WORDS = 8
"""A text with this many different words of four letters is prose to a detector; a row of formulas has fewer."""


def script_of(language: str) -> list[str]:
    """Unicode scripts that a language is written in."""
    return SCRIPTS.get(language, "Latin").split()


@cache
def _written_in(script: str) -> list[str]:
    """The languages that are written in a script."""
    return [code for code in LANGUAGES if script in script_of(code)]


@cache
def typical_words(language: str, script: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Typical words in a script: of a language, those of them that are no other's, and those of all others.

    Single letters are left out of the last two: y is a Spanish word, and a variable.
    """
    lists = {code: frozenset(words.split()) for code, words in STOPWORDS.items() if script in script_of(code)}
    own = lists.pop(language, frozenset())
    others = frozenset(word for words in lists.values() for word in words)
    return own, frozenset(w for w in own - others if len(w) > 1), frozenset(w for w in others - own if len(w) > 1)


@cache
def _languages_by_word(script: str) -> dict[str, list[str]]:
    """The languages of a script that a word is typical of."""
    found: dict[str, list[str]] = {}
    for code in _written_in(script):
        for word in typical_words(code, script)[0]:
            found.setdefault(word, []).append(code)
    return found


def likeliest(words: set[str], script: str) -> str:
    """The language of a script that most of the words are typical of."""
    languages = [code for code in STOPWORDS if script in script_of(code)]
    return max(languages, key=lambda code: len(words & typical_words(code, script)[0]))


def languages_of(texts: pl.Series, detector: Detector = "langdetect") -> pl.Series:
    """ISO 639-1 code of the main language of each text, `UNDECIDED` where it says too little, as formulas do.

    Null where a text is in none of `LANGUAGES`.
    """
    prose = texts.cast(pl.String).str.replace_all(NEUTRAL, " ")
    scripts = sorted({"Latin", *" ".join(SCRIPTS.values()).split()})
    letters = prose.to_frame("text").select(
        # Latin letters stand for variables, names and units in every script.
        (pl.col("text").str.count_matches(rf"\p{{{script}}}") / (3 if script == "Latin" else 1)).alias(script)
        for script in scripts
    )
    kana, han = pl.col("Hiragana") + pl.col("Katakana"), pl.col("Han")
    found = letters.select(
        most=pl.concat_list(scripts).list.arg_max(),
        some=pl.max_horizontal(scripts) > 0,
        japanese=(kana > 0.1 * han) & (kana + han > pl.col("Latin")),
    )
    most = [scripts[place] if some else None for place, some in found.select("most", "some").iter_rows()]
    rows = zip(prose, most, found["japanese"], strict=True)
    return pl.Series(
        ["ja" if is_japanese else _main_language(text, script, detector) for text, script, is_japanese in rows],
        dtype=pl.String,
    )


def _main_language(text: str, script: str | None, detector: Detector) -> str | None:
    """Of a text with most letters of this script."""
    if script is None:
        return UNDECIDED
    candidates = ["zh"] if script == "Han" else _written_in(script)
    return candidates[0] if len(candidates) == 1 else _by_words(text, candidates, script, detector)


def _by_words(text: str, candidates: list[str], script: str, detector: Detector) -> str | None:
    words = set(text.lower().translate(_BETWEEN_WORDS).split())
    typical = _languages_by_word(script)
    scores = Counter(code for word in words & typical.keys() for code in typical[word])
    first, second = heapq.nlargest(2, candidates, key=scores.__getitem__)
    if scores[first] >= 2 and scores[first] > scores[second] and words & typical_words(first, script)[1]:
        return first
    if sum(len(word) >= 4 for word in words) < TELLING_WORDS:
        return _MOST_USED.get(script, UNDECIDED)
    language, probability = detect(" ".join(sorted(words)), detector)
    if probability < CONFIDENCE:
        return _MOST_USED.get(script, UNDECIDED)
    return language if language in candidates else None


def detect(text: str, detector: Detector = "langdetect") -> tuple[str, float]:
    """The most probable language of a text and its probability; "unknown" and 0 where there is none."""
    return (_langdetect if detector == "langdetect" else _pycld2)(text)


def check_detector(detector: Detector) -> None:
    """Raise FilterError if the detector is not installed."""
    try:
        detect("one two three", detector)
    except ImportError as error:
        raise FilterError(f"detector {detector!r} is not installed: pip install {detector}") from error


@cache
def _factory() -> Any:
    """Our own detector factory: the seed of the library's global one is not ours to set."""
    from langdetect import DetectorFactory
    from langdetect.detector_factory import PROFILES_DIRECTORY

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


def _langdetect(text: str) -> tuple[str, float]:
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.append(text)
    try:
        best = detector.get_probabilities()[0]
    except (LangDetectException, IndexError):
        return "unknown", 0.0
    return best.lang.partition("-")[0], best.prob


def _pycld2(text: str) -> tuple[str, float]:
    import pycld2

    try:
        reliable, _, [(_, code, percent, _), *_] = pycld2.detect(text)
    except pycld2.error:
        return "unknown", 0.0
    return {"iw": "he", "un": "unknown"}.get(code, code.partition("-")[0]), percent / 100 if reliable else 0.0
