"""Task files for lighteval, so that others can score a student with the field's harness on the same questions.

Mathematics only: lighteval scores it by its own reading of answers, which agrees with ours but for notation. Does not
need lighteval, and runs nothing.
"""

import json
from collections.abc import Iterable
from pprint import pformat

from distill.report.benchmarks import KNOWN, ProblemSet
from distill.store import Run, write_text

FOLDER = "lighteval"
OWN = {"gpqa_diamond": "gpqa:diamond", "ifeval": "ifeval"}
"""What lighteval calls sets that it scores in ways of its own."""

TASKS = '''\
"""Tasks for lighteval (0.13), written by distill beside the students that it trained:

    lighteval vllm "model_name=STUDENT,max_model_length={length},generation_parameters={{temperature:{temperature},top_p:{top_p},max_new_tokens:{tokens}}}" \\
        "{first}|0" --custom-tasks {file}

STUDENT is a student's folder or its id on the Hub; run it in the folder of this file.{others}
"""

from pathlib import Path

from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

SETS = {sets}


def task(name, found):
    def prompt(line, task_name=None):
        gold = str(line[found["reference"]])
        if found["worked"]:
            gold = gold.rpartition("####")[2].strip()
        question = "\\n\\n".join(part for part in (line[found["problem"]], found["instruction"]) if part)
        return Doc(task_name=task_name, query=question, choices=[gold], gold_index=0)

    n = found["samples"]
    return LightevalTaskConfig(
        name="distill_" + name,
        prompt_function=prompt,
        hf_repo=found["repo"] or str(Path(__file__).resolve().parent / name),
        hf_subset=found["subset"],
        hf_revision=found["revision"],
        hf_avail_splits=[found["split"]],
        evaluation_splits=[found["split"]],
        generation_size=found["tokens"],
        metrics=[
            Metrics.avg_at_n_math(sample_params={{"n": n}}),
            Metrics.pass_at_k_math(sample_params={{"k": n, "n": n}}),
        ],
        version=1,
    )


TASKS_TABLE = [task(name, found) for name, found in SETS.items()]
'''  # noqa: E501


def write_tasks(run: Run, asked: Iterable[ProblemSet]) -> None:
    """Write `report/lighteval/tasks.py`, and beside it the rows of sets that are on no Hub. Only mathematics."""
    asked = list(asked)
    sets: dict[str, dict[str, object]] = {}
    for each in asked:
        if each.problems["domain"].unique().to_list() == ["math"] and each.verifier.name() == "verify_math":
            known = KNOWN.get(each.name)
            from_hub = known is not None and each.source.get("dataset") == known.table.dataset
            sets[each.name] = _from_hub(each) if from_hub else _from_file(run, each)
    if not sets:
        return
    first = next(iter(sets))
    settings = next(each.settings for each in asked if each.name == first)
    others = [OWN[each.name] for each in asked if each.name in OWN]
    text = TASKS.format(
        length=settings.max_tokens + 4_096,
        tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        first=f"distill_{first}",
        file="tasks.py",
        others=f"\nOf the other sets lighteval has its own tasks: {', '.join(others)}." if others else "",
        sets=pformat(sets, width=110, sort_dicts=False),
    )
    write_text(run.path("report", FOLDER, "tasks.py"), text)


def _asked(each: ProblemSet) -> dict[str, object]:
    settings = each.settings
    return {"instruction": settings.instruction, "samples": settings.samples_per_problem, "tokens": settings.max_tokens}


def _from_hub(each: ProblemSet) -> dict[str, object]:
    table = KNOWN[each.name].table
    return {
        "repo": each.source["dataset"],
        "subset": each.source["config"] or "default",
        "split": each.source["split"],
        "revision": each.source["commit"],
        "problem": table.columns.get("problem", "problem"),
        "reference": table.columns["reference_answer"],
        "worked": table.extract_reference,
        **_asked(each),
    }


def _from_file(run: Run, each: ProblemSet) -> dict[str, object]:
    rows = each.problems.select("problem", "reference_answer").drop_nulls().iter_rows(named=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(run.path("report", FOLDER, each.name, "test.jsonl"), lines)
    return {
        "repo": None,
        "subset": "default",
        "split": "test",
        "revision": None,
        "problem": "problem",
        "reference": "reference_answer",
        "worked": False,
        **_asked(each),
    }
