"""Correctness of a multiple-choice answer: the option that is stated must be the right one.

Texts are compared as written and not as mathematics. Questions with several right options are not judged.
"""

from collections.abc import Iterable

import polars as pl

from filters import Filter, Verdict, abstain, reject
from filters._answers import extract_answer
from filters._choices import FAULTS, SEVERAL, choice, choices_stated
from filters._options import Options, options_of


class VerifyChoice(Filter):
    r"""Keep a trajectory that chooses the right option of a multiple-choice question (GPQA and its kin).

    The choice is a letter in any dress (``\boxed{\text{(B)}}``, ``**B**``, "option B", "B) Paris") or the text of an
    option; `choices_stated` has the styles and their order. ``options`` is JSON: a list of texts, or letters to texts.
    Where it is null, the options are read from the problem: lines such as ``A) …``, ``(A) …``, ``A. …``. Where neither
    has any, only letters can be judged. The reference is the letter of the right option or its text, never an index.

    Score: 1 if the choice is right, 0 if it is wrong or absent.
    Rejects: no_answer, wrong_answer, several_answers (also where one of them is right), letter_contradicts_text ("B)"
        with the text of C), no_such_option (a letter beyond the options).
    Abstains: missing_input, unusable_options (JSON that holds none), unusable_reference (neither a letter of the
        options nor the text of one), unmatched_text (an answer in words or in a notation that no option is written in;
        a judge can tell).
    """

    reads = ("response", "reference_answer", "problem", "options")
    nullable = ("problem", "options")
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
            (r"It is \boxed{\text{(B)}}.", "B", None, "keep"),
            ("The answer is blood.", "B", None, "keep"),
            ("**Answer:** (b)", "blood", None, "keep"),
            ("Option D is correct, since 3 + 4 = 7.", "7", '["5", "6", "8", "7"]', "keep"),
            (r"It is \boxed{A}.", "B", None, "wrong_answer"),
            ("A rose is red, too.", "B", None, "no_answer"),
            (r"\boxed{A, B}", "B", None, "several_answers"),
            ("The answer is B. Wait, the answer is C.", "B", None, "several_answers"),
            ("Answer: B) grass", "B", None, "letter_contradicts_text"),
            ("Answer: D", "B", None, "no_such_option"),
            ("The answer is a red liquid.", "B", None, "unmatched_text"),
            (r"\boxed{B}", "Z", None, "unusable_reference"),
            (r"\boxed{B}", "B", "red", "unusable_options"),
            (None, "B", None, "missing_input"),
        )
    )

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Read the options of each question, then what each response states."""
        for response, *question in _strings(rows, "response", "reference_answer", "options", "problem"):
            read = _read(*question)
            yield abstain(read) if isinstance(read, str) else _judge(response or "", *read)

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Problems whose options or reference cannot be read."""
        absent = [pl.lit(None).alias(name) for name in self.nullable if name not in problems.columns]
        questions = _strings(problems.with_columns(absent), "reference_answer", "options", "problem")
        read = [_read(*question) for question in questions]
        return pl.Series([reason if isinstance(reason, str) else None for reason in read], dtype=pl.String)


def _strings(rows: pl.DataFrame, *columns: str) -> Iterable[tuple[str | None, ...]]:
    return rows.select(pl.col(columns).cast(pl.String)).iter_rows()


def _read(reference: str | None, options: str | None, problem: str | None) -> tuple[str, Options] | str:
    """The right letter and the options of a question, or the reason why they cannot be read."""
    if reference is None:
        return "missing_input"
    try:
        listed = options_of(options, problem)
    except ValueError:
        return "unusable_options"
    right = choice(reference, listed, whole=True)
    return (right, listed) if right and right not in FAULTS else "unusable_reference"


def _judge(response: str, right: str, options: Options) -> Verdict:
    stated = choices_stated(response, options)
    if not stated:
        words = extract_answer(response)
        return abstain("unmatched_text", None, words) if words else reject("no_answer", 0.0)
    chosen = dict.fromkeys(chosen for chosen, _ in stated)
    evidence = " | ".join(dict.fromkeys(words for _, words in stated))
    for fault in FAULTS:
        if fault in chosen:
            return reject(fault, 0.0, evidence)
    if len(chosen) > 1:
        return reject(SEVERAL, 0.0, evidence)
    return Verdict("keep", None, 1.0, evidence) if right in chosen else reject("wrong_answer", 0.0, evidence)
