"""The problems that models are measured on: the held-out ones, named benchmarks, and tables of one's own.

A benchmark's rows come from the Hub at a pinned commit, or from a file. Samples and judges nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

import filters
from distill import hub
from distill.hub.repo import HubError
from distill.recipe.report import Benchmark, Report
from distill.recipe.trajectories import Generation
from distill.schema import PROBLEM, check, verifier_input
from distill.store import Run, RunError, seed_of, text_digest
from filters import Filter, extract_answer

HELD_OUT = "held_out"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ProblemSet:
    """Problems, the filter that judges answers to them, and how they are asked."""

    name: str
    problems: pl.DataFrame
    """The columns of `PROBLEM`, those that a verifier reads besides, and `level` where difficulty is known."""
    verifier: Filter
    settings: Generation
    source: Mapping[str, Any]
    """Where the rows are from: dataset and commit, or file and digest."""


@dataclass(frozen=True)
class Known:
    """A benchmark as its authors publish it."""

    table: Benchmark
    shape: Callable[[Row], dict[str, Any]] | None = None
    """Makes our columns of one of its rows, where renaming is not enough."""
    gated: bool = False


def _gpqa(row: Row) -> dict[str, Any]:
    """The four options in an order that a hash of the question gives, below the question."""
    right, *wrong = (
        str(row[name]).strip() for name in ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))
    )
    options = sorted([right, *wrong], key=lambda option: seed_of("gpqa", row["Question"], option))
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return {
        "problem": f"{row['Question'].strip()}\n\n{listed}",
        "reference_answer": LETTERS[options.index(right)],
        "options": json.dumps(options, ensure_ascii=False),
    }


def _humaneval(row: Row) -> dict[str, Any]:
    tests = {"entry_point": row["entry_point"], "check": row.get("test", row.get("tests")), "prompt": row["prompt"]}
    ask = "Complete this Python function. Answer with the whole function in one block of code."
    return {"problem": f"{ask}\n\n```python\n{row['prompt'].strip()}\n```", "tests": json.dumps(tests)}


KNOWN = {
    "gsm8k": Known(
        Benchmark(
            name="gsm8k",
            dataset="openai/gsm8k",
            config="main",
            revision="740312add88f781978c0658806c59bc2815b9866",
            columns={"problem": "question", "reference_answer": "answer"},
            extract_reference=True,
        )
    ),
    "math500": Known(
        Benchmark(
            name="math500",
            dataset="HuggingFaceH4/MATH-500",
            revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            columns={"reference_answer": "answer"},
        )
    ),
    "aime24": Known(
        Benchmark(
            name="aime24",
            dataset="HuggingFaceH4/aime_2024",
            split="train",
            revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            columns={"reference_answer": "answer"},
        )
    ),
    "aime25": Known(
        Benchmark(
            name="aime25",
            dataset="math-ai/aime25",
            revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
            columns={"reference_answer": "answer"},
        )
    ),
    "gpqa_diamond": Known(
        Benchmark(
            name="gpqa_diamond", dataset="Idavidrein/gpqa", config="gpqa_diamond", split="train", domain="choice"
        ),
        shape=_gpqa,
        gated=True,
    ),
    "ifeval": Known(
        Benchmark(
            name="ifeval",
            dataset="google/IFEval",
            split="train",
            revision="966cd89545d6b6acfd7638bc708b98261ca58e84",
            columns={"problem": "prompt"},
            domain="instruction",
        )
    ),
    "humaneval": Known(
        Benchmark(
            name="humaneval",
            dataset="openai/openai_humaneval",
            revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
            domain="code",
        ),
        shape=_humaneval,
    ),
}
"""Dataset, commit, columns and domain of each named benchmark. Of gpqa_diamond no commit is pinned: it is gated, and
the one that was read is recorded."""

VERIFIERS = {
    "math": "verify_math",
    "code": "verify_code",
    "choice": "verify_choice",
    "instruction": "verify_instructions",
}
INSTRUCTIONS = {
    "choice": "Please reason step by step, and put the letter of your final answer within \\boxed{}.",
    "code": "",
    "instruction": "",
}


def samples_for(problems: int) -> int:
    """Samples of each of so many problems: 64, as R1's authors took for AIME, 8 as for GPQA, 4 as for MATH-500."""
    return 64 if problems <= 100 else 8 if problems <= 200 else 4


def problem_sets(run: Run) -> Iterator[ProblemSet]:
    """The held-out problems, where the recipe has them, then the benchmarks in its order."""
    section = run.recipe.report
    assert section is not None
    if run.recipe.problems and run.recipe.problems.held_out:
        held_out = run.problems("held_out")
        assert run.recipe.verifier is not None
        settings = _settings(section, section.instruction, section.samples_per_problem, held_out.height)
        yield ProblemSet(HELD_OUT, held_out, run.recipe.verifier, settings, {})
    for entry in section.benchmarks:
        yield _read(Benchmark(name=entry) if isinstance(entry, str) else entry, section)


def _settings(section: Report, instruction: str, samples: int | None, problems: int) -> Generation:
    plain = section.model_dump(include={*Generation.model_fields})
    return Generation(**plain | {"instruction": instruction, "samples_per_problem": samples or samples_for(problems)})


def _read(asked: Benchmark, section: Report) -> ProblemSet:
    known = KNOWN.get(asked.name)
    table = _merged(asked, known.table) if known else asked
    where = f"report.benchmarks: {asked.name}"
    try:
        rows, source = hub.read_table(table, where)
    except HubError as error:
        if known and known.gated:
            raise HubError(
                f"{error} The authors of {table.dataset} ask that its questions not be published, so it is gated: "
                "accept its terms on its page, log in with `hf auth login` or HF_TOKEN, and run again; leave it out; "
                "or give the path of your copy."
            ) from error
        raise
    problems = _as_problems(rows, table, known.shape if known else None, where)
    verifier = table.verifier or filters.load(VERIFIERS[table.domain])
    instruction = asked.instruction
    if instruction is None:
        instruction = INSTRUCTIONS.get(table.domain, section.instruction)
    samples = asked.samples_per_problem or section.samples_per_problem
    verifier.check_ready()
    return ProblemSet(asked.name, problems, verifier, _settings(section, instruction, samples, problems.height), source)


def _merged(asked: Benchmark, known: Benchmark) -> Benchmark:
    """What is known, but for what the recipe changes; a file has its own columns."""
    changed = {name: getattr(asked, name) for name in Benchmark.model_fields if getattr(asked, name) != _default(name)}
    if asked.path is not None:
        changed = {"dataset": None, "config": None, "revision": None, "columns": asked.columns} | changed
    return known.model_copy(update=changed)


def _default(name: str) -> Any:
    return Benchmark.model_fields[name].get_default(call_default_factory=True)


def _as_problems(
    rows: pl.DataFrame, table: Benchmark, shape: Callable[[Row], dict[str, Any]] | None, where: str
) -> pl.DataFrame:
    if shape is not None:
        try:
            rows = pl.DataFrame([shape(row) for row in rows.iter_rows(named=True)], infer_schema_length=None)
        except KeyError as error:
            raise RunError(f"{where}: no column {error} among {', '.join(rows.columns)}") from None
    for ours, theirs in (("problem", "prompt"), ("reference_answer", "answer")):
        if ours not in rows.columns and theirs in rows.columns:
            rows = rows.rename({theirs: ours})
    if "problem" not in rows.columns:
        raise RunError(
            f"{where}: no column 'problem' among {', '.join(rows.columns)}; name theirs with columns: {{problem: …}}"
        )
    reference = pl.col("reference_answer") if "reference_answer" in rows.columns else pl.lit(None)
    extra = verifier_input(rows)
    level = [pl.format("level {}", "level").alias("level")] if "level" in rows.columns else []
    rows = rows.with_columns(problem=pl.col("problem").cast(pl.String)).select(
        *level,
        *extra,
        problem_id=pl.col("problem").map_elements(text_digest, return_dtype=pl.String),
        problem="problem",
        reference_answer=reference.cast(pl.String),
        domain=pl.lit(table.domain),
        source=pl.lit(table.name),
        split=pl.lit("benchmark"),
    )
    if table.extract_reference:
        stated = pl.col("reference_answer").map_elements(extract_answer, return_dtype=pl.String)
        rows = rows.with_columns(stated.fill_null(pl.col("reference_answer")).alias("reference_answer"))
    rows = rows.unique("problem_id", keep="first", maintain_order=True)
    return check(rows, PROBLEM, what=where, key=("problem_id",))
