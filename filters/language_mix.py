"""Language mixing: reasoning that leaves its language half-way teaches the student to do so.

R1 was trained against this by a reward, and its distillation data was cleaned of it (DeepSeek-R1, section 2.3).
A census of scripts decides what scripts can decide. Between languages of one script, only sentences that are poor
in the words every text of the language has are shown to langdetect: it calls formulas and names foreign.
"""

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

import polars as pl
from pydantic import Field, NonNegativeInt, field_validator

from filters import Filter, Verdict, reject
from filters._stopwords import STOPWORDS
from filters._text import batches, whole_text

CONFIDENCE = 0.95
"""Least probability that langdetect must give to a foreign language."""
SEGMENT_WORDS = 6
SEGMENT_LETTERS = 24
TYPICAL_WORDS = 2
"""A foreign sentence has this many different typical words of other languages..."""
UNTYPICAL_WORDS = 8
"""...or, where it has fewer, this many different words of four letters: a row of formulas has not."""

SCRIPTS = {
    "ar": "Arabic", "fa": "Arabic", "ur": "Arabic", "bg": "Cyrillic", "mk": "Cyrillic", "ru": "Cyrillic",
    "uk": "Cyrillic", "el": "Greek", "he": "Hebrew", "hi": "Devanagari", "mr": "Devanagari", "ne": "Devanagari",
    "bn": "Bengali", "gu": "Gujarati", "kn": "Kannada", "ml": "Malayalam", "pa": "Gurmukhi", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "zh": "Han", "ja": "Han Hiragana Katakana", "ko": "Hangul",
}  # fmt: skip
"""Scripts of the languages that are not written in Latin letters, by ISO 639-1 code."""

# What may stand in any language: code, mathematics, addresses and short quotations.
_NEUTRAL = (
    r"(?s:```.*?```)|`[^`\n]*`|(?s:\\\[.*?\\\])|(?s:\\\(.*?\\\))|(?s:\$\$.*?\$\$)|\$[^$\n]{1,200}\$"
    r"|https?://\S+|\\[a-zA-Z]+|<<[^<>\n]*>>"
    r"|“[^”\n]{1,80}”|\"[^\"\n]{1,80}\"|«[^»\n]{1,80}»|「[^」\n]{1,80}」|『[^』\n]{1,80}』|《[^》\n]{1,80}》"
)
_SEGMENT_END = r"([.!?;:。！？])\s+"
_WORDS = r"[\p{L}\p{M}'’]{2,}"


class LanguageMix(Filter):
    """Keep trajectories that stay in one language.

    Mathematics, code, addresses and short quotations (up to 80 characters, in quotation marks) are in no language.
    Greek letters are mathematics everywhere.

    Score: share (0..1) of the letters of reasoning and response that are outside the language.
    Rejects: foreign_script, foreign_language (the larger part of the foreign letters names the reason).
    Abstains: missing_input.
    """

    language: str = "en"
    """ISO 639-1 code of the language that the trajectories should be in."""
    max_foreign_share: Annotated[float, Field(ge=0, le=1)] = 0.002
    """Largest share of foreign letters of a trajectory that is kept."""
    max_foreign_letters: NonNegativeInt = 4
    """This many foreign letters are always accepted: a name, a unit, a stray sign."""

    reads = ("reasoning", "response")
    nullable = ("reasoning",)
    libraries = ("langdetect",)
    examples = (
        ({"reasoning": "Ones: 9 times 6 is 54, write 4 carry 5.", "response": r"\boxed{354}"}, "keep"),
        ({"reasoning": None, "response": r"Let $\alpha$ be the angle. The word “chat échaudé” is French."}, "keep"),
        ({"reasoning": "First we add the two numbers. 所以答案是四十二。", "response": "42"}, "foreign_script"),
        (
            {
                "reasoning": "We add the two numbers.\n"
                "Nous avons donc trouvé que la somme des deux nombres est égale à quarante.",
                "response": "40",
            },
            "foreign_language",
        ),
        ({"reasoning": "So", "response": None}, "missing_input"),
    )

    @field_validator("language")
    @classmethod
    def _known(cls, code: str) -> str:
        known = sorted({*SCRIPTS, *STOPWORDS})
        if code not in known:
            raise ValueError(f"unknown language {code!r}; known are {', '.join(known)}")
        return code

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Count foreign letters by script, then those of foreign sentences in the language's own script."""
        for texts in batches(rows.select(whole_text()).to_series()):
            yield from self._judge_texts(texts)

    def _judge_texts(self, texts: pl.Series) -> list[Verdict]:
        stray = self._stray()
        prose = texts.str.replace_all(_NEUTRAL, " ")
        census = pl.DataFrame({"text": prose}).select(
            row=pl.int_range(pl.len(), dtype=pl.UInt32),
            letters=pl.col("text").str.count_matches(r"\p{L}"),
            strays=pl.col("text").str.count_matches(stray),
            stray=pl.col("text").str.extract(rf"({stray}(?:[^\n]{{0,60}}{stray})?)"),
        )
        table = census.join(self._foreign_segments(prose), on="row", how="left", maintain_order="left")
        return [self._verdict(**row) for row in table.drop("row").iter_rows(named=True)]

    def _verdict(
        self, letters: int, strays: int, stray: str | None, foreign: int | None, segment: str | None
    ) -> Verdict:
        outside = strays + (foreign or 0)
        share = min(1.0, outside / letters) if letters else 0.0
        if outside <= self.max_foreign_letters or share <= self.max_foreign_share:
            return Verdict("keep", None, share)
        if strays >= (foreign or 0):
            return reject("foreign_script", share, stray)
        return reject("foreign_language", share, segment)

    def _stray(self) -> str:
        scripts = SCRIPTS.get(self.language, "Latin").split()
        # Latin letters stand for variables, names and units in every script; whole sentences are found apart.
        own = "".join(rf"\p{{{script}}}" for script in {*scripts, "Latin", "Greek", "Common", "Inherited"})
        return rf"[\p{{L}}--[{own}]]"

    def _foreign_segments(self, prose: pl.Series) -> pl.DataFrame:
        """Columns row, foreign (letters in foreign sentences) and segment (the longest of them, with its language)."""
        segments = (
            pl.DataFrame({"row": pl.int_range(len(prose), dtype=pl.UInt32, eager=True), "segment": prose})
            .with_columns(pl.col("segment").str.replace_all(_SEGMENT_END, "$1\n").str.split("\n"))
            .explode("segment")
            .with_columns(pl.col("segment").str.replace_all(r"[\p{N}\p{P}\p{S}\s]+", " ").str.strip_chars())
            .filter(pl.col("segment").str.len_bytes() >= SEGMENT_LETTERS)
        )
        suspects = segments.select(pl.col("segment").unique(maintain_order=True)).filter(self._suspicious())
        languages = [self._foreign_language(segment) for segment in suspects["segment"]]
        found = suspects.with_columns(language=pl.Series(languages, dtype=pl.String)).drop_nulls()
        return (
            segments.join(found, on="segment", how="inner", maintain_order="left")
            .with_columns(letters=pl.col("segment").str.count_matches(r"\p{L}"))
            .sort("letters", descending=True, maintain_order=True)
            .group_by("row")
            .agg(
                foreign=pl.col("letters").sum(),
                segment=pl.format("{}: {}", pl.col("language").first(), pl.col("segment").first()),
            )
        )

    def _suspicious(self) -> pl.Expr:
        """Whether a segment is long enough to judge and has few typical words of the language."""
        segment = pl.col("segment")
        words = segment.str.count_matches(_WORDS)
        long_enough = (words >= SEGMENT_WORDS) & (segment.str.count_matches(r"\p{L}") >= SEGMENT_LETTERS)
        if self.language in SCRIPTS:
            own_script = "".join(rf"\p{{{script}}}" for script in SCRIPTS[self.language].split())
            return long_enough & (
                segment.str.count_matches(f"[{own_script}]") < segment.str.count_matches(r"\p{Latin}")
            )
        own, other = (segment.str.count_matches(_any_of(typical)) for typical in _typical(self.language))
        return long_enough & (((other >= TYPICAL_WORDS) & (other > own)) | (own < 0.05 * words))

    def _foreign_language(self, segment: str) -> str | None:
        """The foreign language of a suspicious segment, or None if it is not clearly foreign."""
        if self.language in SCRIPTS:
            return "Latin script"
        words = set(segment.lower().split())
        _, other = _typical(self.language)
        if len(words & other) < TYPICAL_WORDS and sum(len(word) >= 4 for word in words) < UNTYPICAL_WORDS:
            return None
        language, probability = _detect(segment)
        return language if language != self.language and probability >= CONFIDENCE else None


@cache
def _typical(language: str) -> tuple[frozenset[str], frozenset[str]]:
    """Typical words of a language, and those of all others that are not also its own.

    Single letters are left out: y is a Spanish word, and a variable.
    """
    own = frozenset(STOPWORDS[language].split())
    others = {word for code, words in STOPWORDS.items() if code != language for word in words.split()}
    return own, frozenset(word for word in others - own if len(word) > 1)


def _any_of(words: frozenset[str]) -> str:
    return rf"(?i)\b(?:{'|'.join(sorted(words))})\b"


@cache
def _factory() -> Any:
    """Our own detector factory: the seed of the library's global one is not ours to set."""
    from langdetect import DetectorFactory
    from langdetect.detector_factory import PROFILES_DIRECTORY

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


def _detect(text: str) -> tuple[str, float]:
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.append(text)
    try:
        best = detector.get_probabilities()[0]
    except (LangDetectException, IndexError):
        return "unknown", 0.0
    return best.lang.partition("-")[0], best.prob
