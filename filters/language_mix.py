"""Language mixing: reasoning that leaves its language half-way teaches the student to do so.

R1 was trained against this by a reward, and its distillation data was cleaned of it (DeepSeek-R1, section 2.3).
A census of scripts decides what scripts can decide. Between languages of one script, only sentences that are poor
in the words every text of the language has are shown to a detector: it calls formulas and names foreign.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated

import polars as pl
from pydantic import Field, NonNegativeInt, field_validator

from filters import Filter, Verdict, abstain, reject
from filters._foreign import foreign_segments, letters_in, prose_of, sentences_of, stray, stray_runs
from filters._language import LANGUAGES, UNDECIDED, Detector, check_detector, languages_of
from filters._text import batches, text, whole_text
from filters._verdict import merge

BEGINNING_CHARS = 2000
"""Enough of a trajectory to tell its language."""
EXCERPT_CHARS = 80


class LanguageMix(Filter):
    """Keep trajectories that stay in one language: that of the problem, or a fixed one.

    Mathematics, code, addresses and short quotations (up to 80 characters, in quotation marks) are in no language,
    nor are names in brackets and words that stand in the problem. Greek letters are mathematics everywhere.

    Where a problem says too little, as a formula does, the language that the trajectory begins in is taken. Where
    the answer should be in another language than the question, as in translation, name it or leave this filter out.

    Score: share (0..1) of the letters of reasoning and response that are outside the language.
    Rejects: foreign_script, foreign_language (the larger part of the foreign letters names the reason).
    Abstains: missing_input, unknown_language (the problem is absent or in a language that has no word list).
    """

    language: str = "problem"
    """ISO 639-1 code of the language that trajectories should be in, or ``problem`` for that of each problem."""
    max_foreign_share: Annotated[float, Field(ge=0, le=1)] = 0.0005
    """Largest share of foreign letters of a trajectory that is kept: a short sentence in 50,000 characters."""
    max_foreign_letters: NonNegativeInt = 4
    """This many foreign letters are always accepted: a name, a unit, a stray sign."""
    detector: Detector = "langdetect"
    """Library that names the language of doubtful sentences; ``pycld2`` is faster and must be installed."""

    reads = ("problem", "reasoning", "response")
    nullable = ("problem", "reasoning")
    libraries = ("langdetect", "pycld2")
    examples = (
        (
            {"problem": "What is 59 times 6?", "reasoning": "Ones: 9 times 6 is 54.", "response": r"\boxed{354}"},
            "keep",
        ),
        ({"problem": "$x$?", "reasoning": None, "response": r"Let $\alpha$ be “chat échaudé”."}, "keep"),
        ({"problem": "二十加二十二等于多少？", "reasoning": "所以答案是四十二。", "response": "42"}, "keep"),
        (
            {"problem": "How much is it?", "reasoning": "First we add. 所以答案是四十二。", "response": "42"},
            "foreign_script",
        ),
        (
            {
                "problem": "What is the sum of 20 and 20?",
                "reasoning": "We add the two numbers.\n"
                "Nous avons donc trouvé que la somme des deux nombres est égale à quarante.",
                "response": "40",
            },
            "foreign_language",
        ),
        ({"problem": None, "reasoning": "So", "response": "42"}, "unknown_language"),
        ({"problem": "What is it?", "reasoning": "So", "response": None}, "missing_input"),
    )

    @field_validator("language")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in ("problem", *LANGUAGES):
            raise ValueError(f"unknown language {code!r}; known are problem, {', '.join(LANGUAGES)}")
        return code

    def check_ready(self) -> None:
        """Raise FilterError if the detector is not installed."""
        check_detector(self.detector)

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Judge the rows of each language together; count foreign letters by script, then by sentence."""
        texts, problems = rows.select(whole_text()).to_series(), rows.select(text("problem")).to_series()
        targets = self._targets(texts, problems)
        verdicts = [abstain("unknown_language")] * rows.height
        for language in targets.drop_nulls().unique().sort():
            places = iter((targets == language).arg_true())
            for batch in batches(texts.filter(targets == language)):
                here = list(islice(places, len(batch)))
                for place, verdict in zip(here, self._judge_texts(batch, problems[here], language), strict=True):
                    verdicts[place] = verdict
        return verdicts

    def _targets(self, texts: pl.Series, problems: pl.Series) -> pl.Series:
        """The language that each text should be in."""
        if self.language != "problem":
            return pl.Series([self.language]).new_from_index(0, len(texts))
        known = problems.drop_nulls().unique(maintain_order=True)
        targets = problems.replace_strict(
            known, languages_of(known, self.detector), default=None, return_dtype=pl.String
        )
        undecided = (targets == UNDECIDED).fill_null(False)
        begins = texts.filter(undecided).str.head(BEGINNING_CHARS)
        own = languages_of(begins, self.detector).replace(UNDECIDED, "en")
        return merge(undecided, own, targets.filter(~undecided))

    def _judge_texts(self, texts: pl.Series, problems: pl.Series, language: str) -> list[Verdict]:
        prose = prose_of(texts)
        sentences = sentences_of(prose)
        census = pl.DataFrame(
            {"letters": letters_in(sentences), "strays": sentences.str.count_matches(stray(language))}
        )
        segments = foreign_segments(sentences, language, self.detector)
        table = census.with_row_index("row").join(segments, on="row", how="left", maintain_order="left").fill_null(0)
        verdicts = []
        for row, letters, strays, foreign, segment in table.iter_rows():
            evidence = segment
            if strays and self._is_mixed(strays + foreign, letters):
                runs = stray_runs(prose[row], problems[row], language)
                strays = sum(map(len, runs))
                if runs and strays >= foreign:
                    evidence = _excerpt(prose[row], runs[0])
            verdicts.append(self._verdict(letters, strays, foreign, evidence))
        return verdicts

    def _is_mixed(self, outside: int, letters: int) -> bool:
        return outside > self.max_foreign_letters and outside > self.max_foreign_share * letters

    def _verdict(self, letters: int, strays: int, foreign: int, evidence: str | None) -> Verdict:
        share = min(1.0, (strays + foreign) / letters) if letters else 0.0
        if not self._is_mixed(strays + foreign, letters):
            return Verdict("keep", None, share)
        return reject("foreign_script" if strays >= foreign else "foreign_language", share, evidence)


def _excerpt(text: str, begin: str) -> str:
    return text[text.index(begin) :][:EXCERPT_CHARS].partition("\n")[0]
