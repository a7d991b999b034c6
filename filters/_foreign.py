"""Where a text leaves its language: letters of other scripts, and sentences of other languages in a shared script.

Does not know what a text's language is, nor how much of another one is too much.
"""

import polars as pl

from filters._language import (
    CONFIDENCE,
    NEUTRAL,
    TELLING_WORDS,
    Detector,
    detect,
    likeliest,
    script_of,
    typical_words,
)
from filters._stopwords import STOPWORDS
from filters._verdict import merge

SEGMENT_WORDS = 5
SEGMENT_LETTERS = 24
"""Shorter segments are not judged by their words."""
UNSPACED_LETTERS = 12
"""Chinese within Japanese: this many Han letters in a segment without kana."""
FOREIGN_WORDS = 2
"""A doubtful segment has this many different typical words of other languages, or `TELLING_WORDS` long ones..."""
CLEARLY_FOREIGN_WORDS = 4
"""...and where it has this many, and none of its own, no detector is asked."""
NAME_LETTERS = 12
"""Longer runs of foreign letters are no words or names that the problem speaks of."""

# A foreign name may stand in brackets behind its Latin form.
_NEUTRAL = NEUTRAL + r"|[(（]\p{Lo}{1,4}[)）]|[(（]\p{Lu}[\p{L}\p{M}.’' -]{1,30}[)）]"
# Some models write everything into one block of JSON or Markdown, which is no code.
_PROSE_FENCE = r"```(?:json|markdown|md|te?xt|plaintext)\b"
_FENCED_PROSE = rf"(?s){_PROSE_FENCE}(.*?)(?:```|\z)"
_SEGMENT_END = r"[.!?]\s|[。！？\n]"
_NO_LETTERS = r"[^\p{L}\p{M}\n]+"
_ACCENTED = r"[\p{Latin}--\p{ASCII}]"


def prose_of(texts: pl.Series) -> pl.Series:
    """The texts without what is in no language: mathematics, code, addresses, short quotations, names in brackets."""
    fenced = texts.str.contains(_PROSE_FENCE)
    if fenced.any():
        texts = merge(fenced, texts.filter(fenced).str.replace_all(_FENCED_PROSE, "$1"), texts.filter(~fenced))
    return texts.str.replace_all(_NEUTRAL, " ")


def stray(language: str) -> str:
    """Pattern of one letter of a script that the language is not written in.

    Latin letters stand for variables, names and units in every script; whole sentences of them are found apart.
    """
    own = "".join(rf"\p{{{script}}}" for script in {*script_of(language), "Latin", "Greek", "Common", "Inherited"})
    return rf"[\p{{L}}--[{own}]]"


def stray_runs(prose: str, problem: str | None, language: str) -> list[str]:
    """Runs of stray letters, without words and names that stand in the problem."""
    runs = pl.Series([prose]).str.extract_all(rf"(?:{stray(language)}\p{{M}}*)+")[0]
    return [run for run in runs if len(run) > NAME_LETTERS or run not in (problem or "")]


def sentences_of(prose: pl.Series) -> pl.Series:
    """The letters of each text, with one space for all between two words and one sentence a line."""
    return prose.str.replace_all(_SEGMENT_END, "\n").str.replace_all(_NO_LETTERS, " ")


def letters_in(sentences: pl.Series) -> pl.Series:
    """Number of letters of each text, given its `sentences_of`; faster than to match them one by one."""
    breaks = sentences.str.count_matches(" ", literal=True) + sentences.str.count_matches("\n", literal=True)
    return sentences.str.len_chars() - breaks


def foreign_segments(sentences: pl.Series, language: str, detector: Detector) -> pl.DataFrame:
    """Sentences of other languages, in the language's own script or in Latin letters, given `sentences_of` texts.

    Columns row (index of the text), foreign (letters in such sentences) and segment (the longest, with its language).
    """
    rows = pl.DataFrame({"row": pl.int_range(len(sentences), dtype=pl.UInt32, eager=True), "segment": sentences})
    segments = (
        rows.with_columns(pl.col("segment").str.split("\n"))
        .explode("segment")
        .filter(pl.col("segment").str.len_bytes() >= SEGMENT_LETTERS)
        .with_columns(pl.col("segment").str.strip_chars(" "))
    )
    distinct = segments.select(pl.col("segment").unique(maintain_order=True))
    found = pl.concat(_in_script(distinct, language, script, detector) for script in _shared_scripts(language))
    return (
        segments.join(found, on="segment", how="inner", maintain_order="left")
        .sort("letters", descending=True, maintain_order=True)
        .group_by("row")
        .agg(
            foreign=pl.col("letters").sum(),
            segment=pl.format("{}: {}", pl.col("language").first(), pl.col("segment").first()),
        )
    )


def _shared_scripts(language: str) -> list[str]:
    """Scripts in which sentences of other languages may stand; other scripts are stray letters."""
    own = [script_of(language)[0]] if language in STOPWORDS or language == "ja" else []
    return list(dict.fromkeys([*own, "Latin"]))


def _in_script(segments: pl.DataFrame, language: str, script: str, detector: Detector) -> pl.DataFrame:
    """The foreign ones among segments that are written in a script: columns segment, language and letters."""
    # The cheap condition first: most segments have typical words of the language and of no other.
    doubtful = segments.filter(_poor_in_own_words(language, script)).filter(_can_be_judged(language, script))
    languages = [_foreign_language(segment, language, script, detector) for segment in doubtful["segment"]]
    letters = pl.col("segment").str.count_matches(rf"\p{{{script}}}")
    return doubtful.with_columns(language=pl.Series(languages, dtype=pl.String), letters=letters).drop_nulls()


def _poor_in_own_words(language: str, script: str) -> pl.Expr:
    if script == "Han":
        return ~pl.col("segment").str.contains(r"[\p{Hiragana}\p{Katakana}]")
    own, _, others = typical_words(language, script)
    words = pl.col("segment").str.count_matches(" ", literal=True) + 1
    return (_telling(others, language) >= FOREIGN_WORDS) | (20 * _count(own) < words)


def _can_be_judged(language: str, script: str) -> pl.Expr:
    """Whether a segment that is poor in own words is long enough, mainly in this script, and nearer to others."""
    segment = pl.col("segment")
    letters = segment.str.count_matches(rf"\p{{{script}}}")
    if script == "Han":
        return letters >= UNSPACED_LETTERS
    own, only_own, others = typical_words(language, script)
    words = segment.str.count_matches(rf"[\p{{{script}}}\p{{M}}]{{2,}}")
    mainly = (letters >= SEGMENT_LETTERS) & (2 * letters > segment.str.count_matches(r"\p{L}"))
    nearer = (_telling(others, language) > _count(only_own)) | (20 * _count(own) < words)
    return mainly & (words >= SEGMENT_WORDS) & nearer


def _telling(others: frozenset[str], language: str) -> pl.Expr:
    """How many words speak for another language."""
    accented = pl.col("segment").str.count_matches(_ACCENTED) if _is_plain(language) else pl.lit(0)
    return _count(others) + accented


def _count(words: frozenset[str]) -> pl.Expr:
    pattern = rf"(?i)\b(?:{'|'.join(sorted(words))})\b"
    return pl.col("segment").str.count_matches(pattern) if words else pl.lit(0)


def _is_plain(language: str) -> bool:
    """Whether the language does without accents, so that they tell of another one."""
    return script_of(language) == ["Latin"] and STOPWORDS[language].isascii()


def _foreign_language(segment: str, language: str, script: str, detector: Detector) -> str | None:
    """The foreign language of a doubtful segment, or None if it is not clearly foreign."""
    words = set(segment.lower().split())
    _, only_own, others = typical_words(language, script)
    telling = len(words & others)
    if _is_plain(language):
        telling += sum(not word.isascii() for word in words - others)
    is_prose = telling >= FOREIGN_WORDS or sum(len(word) >= 4 for word in words) >= TELLING_WORDS
    if script not in script_of(language):
        return likeliest(words, script) if is_prose else None
    if telling >= CLEARLY_FOREIGN_WORDS and not words & only_own:
        return likeliest(words, script)
    if not is_prose and script != "Han":
        return None
    found, probability = detect(segment, detector)
    return found if found != language and probability >= CONFIDENCE else None
