"""Readability: the heuristics by which R1's own data was cleaned of chaotic reasoning.

DeepSeek-R1 (section 2.3.3) left out reasoning with mixed languages, long paragraphs and code blocks. Mixed languages
are `language_mix`; this file has the other two. It does not judge whether the reasoning makes sense.
"""

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, NonNegativeInt

from filters import VERDICT, Filter, verdict_where
from filters._text import text

_CODE_BLOCK = r"(?s)```.*?(?:```|\z)"
_FENCE = r"```|(?:^|\n)[ \t]*~~~"
_BLANK_LINE = r"\n[ \t\r]*\n"
_BREAK = "\n\n"


class Readability(Filter):
    """Keep reasoning that a person can follow: no wall of text, no code block outside the code domain.

    Paragraphs end at blank lines, and at code blocks. Where there is no reasoning, as in imported solutions, the
    response is looked at. A code block that never closes is one.

    Score: length of the longest paragraph, in ``paragraph_unit``.
    Rejects: long_paragraph, code_in_reasoning.
    Abstains: missing_input.
    """

    max_paragraph: Annotated[int, Field(gt=0)] = 3000
    """Longest paragraph of a trajectory that is kept, in ``paragraph_unit``. All solutions of MATH-500 and all proofs
    of DeepSeek-Math-V2 stay below 2,000 characters, 99.9 % of the reasoning of eight chat models below 3,000."""
    paragraph_unit: Literal["characters", "words"] = "characters"
    """What ``max_paragraph`` counts. Chinese, Japanese and Thai have no words between spaces: use characters there."""
    max_code_blocks: NonNegativeInt = 0
    """Most fenced code blocks in the reasoning, outside the code domain. A null domain is not code."""

    reads = ("reasoning", "response", "domain")
    nullable = ("reasoning", "domain")
    examples = (
        ({"reasoning": "Ones: 54.\n\nTens: 35.", "response": "It is 354.", "domain": "math"}, "keep"),
        ({"reasoning": None, "response": "It is 354.", "domain": None}, "keep"),
        ({"reasoning": "So it goes on. " * 201, "response": "354", "domain": "math"}, "long_paragraph"),
        ({"reasoning": "So it goes on. " * 201, "response": "354", "domain": "code"}, "long_paragraph"),
        ({"reasoning": "Try:\n```\nprint(1)\n```", "response": "1", "domain": "math"}, "code_in_reasoning"),
        ({"reasoning": "Try:\n```\nprint(1)\n```", "response": "1", "domain": "code"}, "keep"),
        ({"reasoning": "So", "response": "```\nprint(1)\n```", "domain": "general"}, "keep"),
        ({"reasoning": "So", "response": None, "domain": "math"}, "missing_input"),
    )

    def judge(self) -> pl.Expr:
        """Measure the longest paragraph and count code blocks."""
        # In steps, since an expression that occurs twice is computed twice.
        return pl.struct(self.reads).map_batches(self._judge_rows, return_dtype=VERDICT)

    def _judge_rows(self, column: pl.Series) -> pl.Series:
        reasoning, paragraphs, lengths = pl.col("text"), pl.col("paragraphs"), pl.col("lengths")
        prose = reasoning.str.replace_all(_CODE_BLOCK, _BREAK).str.replace_all(_BLANK_LINE, _BREAK)
        measured = (
            column.struct.unnest()
            .select(text=text("reasoning").fill_null(text("response")), is_code=text("domain").eq_missing("code"))
            .with_columns(paragraphs=prose.str.split(_BREAK), blocks=(reasoning.str.count_matches(_FENCE) + 1) // 2)
            .with_columns(lengths=paragraphs.list.eval(self._length(pl.element().str.strip_chars())))
            .select(
                "text",
                "is_code",
                "blocks",
                length=lengths.list.max(),
                longest=paragraphs.list.get(lengths.list.arg_max()),
            )
        )
        rejects = {
            "long_paragraph": pl.col("length") > self.max_paragraph,
            "code_in_reasoning": ~pl.col("is_code") & (pl.col("blocks") > self.max_code_blocks),
        }
        code = pl.when(rejects["code_in_reasoning"]).then(reasoning.str.extract(r"((?s:```.{0,200}))"))
        shown = pl.when(rejects["long_paragraph"]).then("longest").otherwise(code)
        return measured.select(verdict_where(score=pl.col("length"), rejects=rejects, evidence=shown)).to_series()

    def _length(self, paragraph: pl.Expr) -> pl.Expr:
        return paragraph.str.len_chars() if self.paragraph_unit == "characters" else paragraph.str.count_matches(r"\S+")
