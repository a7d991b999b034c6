"""Correctness of a choice: the stated option, by letter or by text, must be the reference's."""

from collections.abc import Iterable

import polars as pl

from filters import Filter, Verdict, abstain, reject
from filters._options import read_options, stated_letters


class VerifyChoice(Filter):
    r"""Keep a trajectory that chooses the right option of a multiple-choice question (GPQA and its kin).

    The choice is a letter in any dress (``\boxed{\text{(B)}}``, ``**B**``, "option B", "B) Paris") or the text of an
    option. The options are those of the ``options`` column (JSON: a list of texts, or letters to texts); where that is
    null, those in the problem: lines such as ``A) …``, ``(A) …``, ``A. …``. The reference is a letter, or the text of
    the right option. A letter beside another option's text contradicts itself.

    Score: 1 if the choice is right, 0 if it is wrong or absent.
    Rejects: no_answer, wrong_answer, several_answers.
    Abstains: missing_input, unusable_options (JSON that holds none), unusable_reference (neither a letter of the
        options nor the text of one).
    """

    reads = ("response", "reference_answer", "problem", "options")
    nullable = ("options",)
    examples = tuple(
        (
            {
                "response": response,
                "reference_answer": reference,
                "problem": "Which is red?\nA) sky\nB) blood\nC) grass",
                "options": options,
            },
            expected,
        )
        for response, reference, options, expected in (
            (r"It is \boxed{B}.", "B", None, "keep"),
            ("The answer is blood.", "B", None, "keep"),
            ("**Answer:** (b)", "blood", None, "keep"),
            ("Answer: 7", "D", '["5", "6", "8", "7"]', "keep"),
            (r"It is \boxed{A}.", "B", None, "wrong_answer"),
            ("I do not know.", "B", None, "no_answer"),
            (r"\boxed{A, B}", "B", None, "several_answers"),
            ("Answer: B) grass", "B", None, "several_answers"),
            (r"\boxed{B}", "Z", None, "unusable_reference"),
            (r"\boxed{B}", "B", "red", "unusable_options"),
            (None, "B", None, "missing_input"),
        )
    )

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Read the options of each question once."""
        questions: dict[tuple[str, str | None, str], tuple[dict[str, str], str] | str] = {}
        for response, reference, problem, options in rows.select(self.reads).iter_rows():
            key = (reference, options, problem)
            if key not in questions:
                questions[key] = read_question(*key)
            question = questions[key]
            yield abstain(question) if isinstance(question, str) else _judge(response, *question)

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Problems whose options or reference cannot be read."""
        if "options" not in problems.columns:
            problems = problems.with_columns(options=pl.lit(None))
        table = problems.select(pl.col("reference_answer", "options", "problem").cast(pl.String))
        questions = ["missing_input" if row[0] is None else read_question(*row) for row in table.iter_rows()]
        return pl.Series([q if isinstance(q, str) else None for q in questions], dtype=pl.String)


def read_question(reference: str, options: str | None, problem: str) -> tuple[dict[str, str], str] | str:
    """The options of a question and the right letter, or the reason why they cannot be read."""
    try:
        found = read_options(options, problem)
    except (ValueError, RecursionError):
        return "unusable_options"
    letters = stated_letters(rf"\boxed{{{reference}}}", found)
    if len(letters) != 1 or (found and not letters <= {*found}):
        return "unusable_reference"
    return found, letters.pop()


def _judge(response: str, options: dict[str, str], right: str) -> Verdict:
    letters = stated_letters(response, options)
    if not letters:
        return reject("no_answer", 0.0)
    evidence = ", ".join(f"{letter}) {options[letter]}" if letter in options else letter for letter in sorted(letters))
    if len(letters) > 1:
        return reject("several_answers", 0.0, evidence)
    if letters == {right}:
        return Verdict("keep", None, 1.0, evidence)
    return reject("wrong_answer", 0.0, evidence)
