"""Every shipped recipe loads; every wrong one is told where, what was found and what was expected, all at once."""

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from distill.recipe import Recipe
from distill.recipe.file import RecipeError, load_recipe
from distill.recipe.schema import recipe_schema

RECIPES = sorted(Path("recipes").rglob("*.yaml"))
GOOD = """\
problems:
  arithmetic: {count: 5, steps: [1, 2]}
  held_out: 2
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 2
verdicts:
  - format
  - length: {min_tokens: 1, max_tokens: 300}
  - verify_math
dataset:
  license: apache-2.0
student:
  steps: 2
  arms:
    small: {base: {architecture: qwen2, hidden_size: 16, layers: 1, heads: 2}}
report:
  temperature: 0.8
"""


def load(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return load_recipe(path, overrides)


def errors(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_round_trips(path, tmp_path):
    overrides = []
    if "path: trajectories.jsonl" in path.read_text():
        (tmp_path / "rows.jsonl").write_text("{}\n")
        overrides = [f"trajectories.import.path={tmp_path}/rows.jsonl"]
    recipe = load_recipe(path, overrides)
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


PLANS = [
    (path, shlex.split(command.replace("\\\n#", " "))[2:])
    for path in RECIPES
    for command in re.findall(r"^#   (distill run (?:.*\\\n#)*.*)$", path.read_text(), re.MULTILINE)
    if "trajectories.jsonl" not in path.read_text()
]
"""The commands that recipes name in their comments."""


@pytest.mark.parametrize(("path", "arguments"), PLANS, ids=lambda given: getattr(given, "stem", None))
def test_the_commands_in_comments_are_right(path, arguments):
    assert arguments[0] == str(path)
    assert set(arguments[1::2]) == {"--set"}
    load_recipe(path, arguments[2::2])


def test_there_is_a_plan_for_one_machine_and_for_several():
    students = sorted(Path("recipes/students").glob("*.yaml"))
    assert len(students) == 9
    for path in students:
        recipe = load_recipe(path)
        plans = [load_recipe(path, arguments[2::2]) for plan, arguments in PLANS if plan == path]
        launches = [each.student.launch for each in (recipe, *plans)]
        assert any(launch is None or launch.machines == 1 for launch in launches)
        assert any(launch and launch.devices * launch.machines >= 16 for launch in launches)
        for published in recipe.report.published:
            assert set(published.scores) == {"aime24", "math500", "gpqa_diamond"}


@pytest.mark.parametrize(
    ("name", "base", "learning_rate", "aime24", "math500"),
    [
        ("qwen_1.5b", "Qwen/Qwen2.5-Math-1.5B", 1e-4, 0.289, 0.839),
        ("qwen_7b", "Qwen/Qwen2.5-Math-7B", 8e-5, 0.555, 0.928),
        ("qwen_14b", "Qwen/Qwen2.5-14B", 7e-5, 0.697, 0.939),
        ("qwen_32b", "Qwen/Qwen2.5-32B", 6e-5, 0.726, 0.943),
        ("llama_8b", "meta-llama/Llama-3.1-8B", 5e-5, 0.504, 0.891),
        ("llama_70b", "meta-llama/Llama-3.3-70B-Instruct", 2e-5, 0.700, 0.945),
    ],
)
def test_the_students_of_r1_are_trained_as_published(name, base, learning_rate, aime24, math500):
    """DeepSeek-R1, arXiv 2501.12948 v2: section B.4.3 with table 6, and the scores of table 15."""
    recipe = load_recipe(f"recipes/students/r1_{name}.yaml")
    [arm], settings = recipe.student.arms.values(), recipe.student
    assert (arm.base, settings.learning_rate, settings.batch_rows) == (base, learning_rate, 64)
    assert (settings.schedule, settings.final_learning_rate_share) == ("cosine", 0.1)
    assert (settings.max_length_tokens, 2 <= settings.epochs <= 3) == (32_768, True)
    [published] = recipe.report.published
    assert (published.scores["aime24"]["pass@1"], published.scores["math500"]["pass@1"]) == (aime24, math500)


@pytest.mark.parametrize(
    ("before", "after", "where", "words"),
    [
        ("held_out: 2", "helt_out: 2", "3:3: problems.helt_out", ["unknown key", "did you mean 'held_out'"]),
        ("held_out: 2", "held_out: two", "3:3: problems.held_out", ["expected a whole number", "'two'"]),
        ("held_out: 2", "held_out: 2\n  held_out: 3", "4:3: problems.held_out", ["occurs twice"]),
        ("count: 5", "count: 0", "2:16: problems.arithmetic.count", ["greater than 0", "found 0"]),
        ("count: 5", "cuont: 5", "2:16: problems.arithmetic.cuont", ["did you mean 'count'"]),
        ("[1, 2]", "[2, 1]", "2:3: problems.arithmetic", ["[fewest, most]", "[2, 1]"]),
        ("samples_per_problem: 2", "samples_per_problem: 0", "6:3: trajectories.samples_per_problem", ["found 0"]),
        ("samples_per_problem: 2", "samples_per_problem: '2'", "6:3: trajectories.samples_per_problem", ["found '2'"]),
        ("samples_per_problem: 2", "temperature: 1e-5", "6:3: trajectories.temperature", ["as text", "1.0e-5"]),
        ("samples_per_problem: 2", "open_think: no", "6:3: trajectories.open_think", ["true or false"]),
        ("samples_per_problem: 2", "engine: vlm", "6:3: trajectories.engine", ["did you mean 'vllm'"]),
        ("{program: arithmetic}", "{programm: arithmetic}", "5:13: trajectories.teacher.programm", ["'program'"]),
        ("{program: arithmetic}", "{recipe: no.yaml}", "5:13: trajectories.teacher.recipe", ["no such recipe"]),
        ("{program: arithmetic}", "{recipe: r.yaml, amr: x}", "5:29: trajectories.teacher.amr", ["'arm'"]),
        ("  - format", "  - formt", "8:5: verdicts[0]", ["unknown filter 'formt'", "Did you mean 'format'"]),
        ("min_tokens: 1", "min_token: 1", "9:14: verdicts[1].length.min_token", ["did you mean 'min_tokens'"]),
        ("min_tokens: 1", "min_tokens: -1", "9:14: verdicts[1].length.min_tokens", ["found -1"]),
        ("  - verify_math", "  - verify_math\n  - format", "11:5: verdicts[3]", ["already"]),
        ("  - verify_math\n", "", "16:1: report", ["verify_*"]),
        ("  license: apache-2.0", "  title: x", "11:1: dataset.license", ["required", "Never guessed"]),
        ("dataset:\n  license: apache-2.0\n", "", "11:1: student", ["dataset section"]),
        ("heads: 2", "heads: 3", "16:13: student.arms.small.base", ["not a multiple"]),
        ("heads: 2}", "heads: 2}, rows: formt", "16:80: student.arms.small.rows", ["did you mean 'format'"]),
        ("small:", "../small:", "16:5: student.arms.../small", ["folder's"]),
        ("  steps: 2", "  steps: 2.5", "14:3: student.steps", ["whole number", "2.5"]),
        ("  arithmetic: {count: 5, steps: [1, 2]}", "  path: no.jsonl", "2:3: problems.path", ["no such file"]),
        ("  arithmetic: {count: 5, steps: [1, 2]}", "  path: recipes", "2:3: problems.path", ["no such file"]),
        (
            "  arithmetic: {count: 5, steps: [1, 2]}\n",
            "",
            "1:1: problems",
            ["exactly one of path, dataset, arithmetic"],
        ),
        ("{count: 5, steps: [1, 2]}", "&a {count: 5}\n  path: *a", "3:3: problems.path", ["alias"]),
        ("apache-2.0", "2026-11-23", "12:3: dataset.license", ["date", "quote"]),
        ("count: 5", "count: 010", "2:16: problems.arithmetic.count", ["plain decimal"]),
        ("apache-2.0", "!!python/object/apply:os.getcwd []", "12:3: dataset.license", ["text"]),
    ],
)
def test_a_wrong_recipe_is_explained(tmp_path, before, after, where, words):
    assert before in GOOD
    found = errors(tmp_path, GOOD.replace(before, after, 1))
    [line] = [line for line in found if line.startswith(f"r.yaml:{where}: ")] or found
    assert line.startswith(f"r.yaml:{where}: "), line
    for word in words:
        assert word in line


def test_all_errors_come_at_once(tmp_path):
    text = (
        GOOD.replace("held_out: 2", "helt_out: 2")
        .replace("min_tokens: 1", "min_tokens: x")
        .replace("steps: 2", "steps: 1e3")
    )
    assert [line.split(": ")[1] for line in errors(tmp_path, text)] == [
        "student.steps",
        "problems.helt_out",
        "verdicts[1].length.min_tokens",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "r.yaml:1:6: not valid YAML"),
        ("- 1", "r.yaml:1:1: expected sections"),
        ("", "r.yaml:1:1: trajectories: required"),
        ("a: &x [*x]", "alias"),
        ("\xff", "r.yaml:1:1"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, text, message):
    assert message in "\n".join(errors(tmp_path, text))


def test_no_file():
    with pytest.raises(RecipeError, match=r"nowhere.yaml: cannot read the recipe: No such file"):
        load_recipe("nowhere.yaml")


def test_a_yaml_alias_bomb_is_refused_quickly(tmp_path):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "alias" in errors(tmp_path, bomb)[0]


def test_overrides_go_through_the_same_models(tmp_path):
    recipe = load(
        tmp_path, GOOD, "verdicts.length.max_tokens=9", "verdicts.format.final_answer=any", "problems.held_out=3"
    )
    assert recipe.verdicts[1].max_tokens == 9
    assert recipe.verdicts[0].final_answer == "any"
    assert recipe.problems.held_out == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("problems.held_out=-1", "--set problems.held_out=-1: problems.held_out: "),
        ("problems.helt_out=1", "did you mean 'held_out'"),
        ("problems.held_out", "expected a.b.c=value"),
        ("verdicts.length.max_token=1", "--set verdicts.length.max_token=1: verdicts[1].length.max_token: unknown key"),
        ("trajectories.temperature=1e-5", "as text"),
        ("verdicts.lenght.max_tokens=1", "verdicts"),
        ("problems.held_out.x=1", "not a section"),
    ],
)
def test_a_wrong_override_is_explained(tmp_path, override, message):
    [line] = errors(tmp_path, GOOD, override)
    assert line.startswith("--set " + override)
    assert message in line


def test_an_override_settles_the_problem_it_replaces(tmp_path):
    broken = GOOD.replace("temperature: 0.8", "temperature: 1e-1")
    assert load(tmp_path, broken, "report.temperature=0.1").report.temperature == 0.1


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_of_problems_is_told(tmp_path, content):
    (tmp_path / "rows.jsonl").write_text(content)
    text = GOOD.replace("  arithmetic: {count: 5, steps: [1, 2]}", f"  path: {tmp_path}/rows.jsonl")
    [line] = errors(tmp_path, text)
    assert line.startswith("r.yaml:2:3: problems.path: ")
    assert "empty; expected at least one row" in line


def test_an_empty_parquet_of_trajectories_is_told(tmp_path):
    pl.DataFrame({"problem": []}).write_parquet(tmp_path / "rows.parquet")
    text = (
        GOOD[GOOD.index("verdicts") : GOOD.index("student")]
        + f"trajectories:\n  import: {{path: {tmp_path}/rows.parquet}}\n"
    )
    [line] = errors(tmp_path, text)
    assert "trajectories.import.path: " in line
    assert "empty" in line


def test_recipes_that_teach_each_other_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for one, other in (("a", "b"), ("b", "a")):
        Path(f"{one}.yaml").write_text(GOOD.replace("{program: arithmetic}", f"{{recipe: {other}.yaml}}"))
    with pytest.raises(RecipeError, match="by, its own student"):
        load_recipe("a.yaml")


def test_the_schema_for_editors_is_up_to_date():
    assert json.loads(Path("recipes/recipe.schema.json").read_text()) == json.loads(json.dumps(recipe_schema()))
