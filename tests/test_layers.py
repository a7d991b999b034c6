"""Imports point one way: recipes -> distill -> filters -> polars. Heavy libraries have their homes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HOMES = {
    "vllm": {"distill/engines/vllm.py"},
    "trl": {
        "distill/student/average.py",
        "distill/student/sft.py",
        "distill/student/dpo.py",
        "distill/student/grpo.py",
        "distill/student/on_policy.py",
        "distill/student/rollouts.py",
    },
    "datasets": {"distill/hub/__init__.py"},
    "huggingface_hub": {"distill/hub/__init__.py", "distill/hub/repo.py"},
    "starlette": {"distill/view/server.py"},
    "uvicorn": {"distill/view/server.py"},
    "altair": {"distill/look/plots.py"},
    "openai": {"filters/_endpoint.py", "distill/engines/server.py", "distill/engines/_stream.py"},
    "math_verify": {"filters/_math.py"},
    "langdetect": {"filters/_language.py"},
    "datasketch": {"filters/_minhash.py"},
}
STAGES = {"problems", "trajectories", "verdicts", "dataset", "student", "report"}
MODULES = sorted([*Path("distill").rglob("*.py"), *Path("filters").rglob("*.py")])


def imported(path: Path) -> set[str]:
    """Dotted names of everything a file imports, also inside functions and for type checking only."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_one_way(path):
    names = imported(path)
    libraries = {name.partition(".")[0] for name in names}
    if path.parts[0] == "filters":
        assert "distill" not in libraries, "filters/ knows nothing of teachers, students or recipes"
    for library, homes in HOMES.items():
        assert library not in libraries or path.as_posix() in homes, f"{library} belongs in {homes}"
    stage = path.parts[1].removesuffix(".py")
    others = {name.split(".")[1] for name in names if name.startswith("distill.")} & STAGES - {stage}
    if stage in STAGES:
        assert not others, "a stage imports no other stage; only run.py knows their order"


@pytest.mark.parametrize("library", HOMES)
def test_every_library_of_the_card_is_used_in_its_home(library):
    for home in HOMES[library]:
        assert library in {name.partition(".")[0] for name in imported(Path(home))}


@pytest.mark.parametrize(
    "statement", ["import filters", "import distill.cli", "import distill.recipe.file, distill.run"]
)
def test_light_imports_load_nothing_heavy(statement):
    heavy = {
        "torch",
        "vllm",
        "transformers",
        "trl",
        "datasets",
        "sympy",
        "langdetect",
        "datasketch",
        "huggingface_hub",
        "starlette",
    }
    code = f"{statement}; import sys; print(*sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert loaded == ""


def test_recipes_hold_data_only():
    assert {path.suffix for path in Path("recipes").rglob("*") if path.is_file()} <= {".yaml", ".json"}
