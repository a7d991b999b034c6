"""What the README says is there, is there; what is there, the README says."""

import re
from pathlib import Path

import pytest

from distill.cli import app
from distill.recipe.file import load_recipe

README = Path("README.md").read_text()
MAPPED = ("distill", "filters", "recipes", "data_cards", "notebooks")


def mapped_paths() -> list[str]:
    """Every path of the map, folders ending in a slash."""
    block = re.search(r"## Map\n\n```text\n(.*?)```", README, re.DOTALL)[1]
    paths, folders = [], []
    for line in filter(None, block.splitlines()):
        indent, name, description = re.fullmatch(r"( *)(\S+) {2,}(\S.*)", line).groups()
        assert len(line) <= 100, line
        assert description
        folders = [*folders[: len(indent) // 2], name]
        paths.append("".join(folders))
    return paths


def test_the_map_is_complete_and_true():
    paths = mapped_paths()
    assert [path for path in paths if not Path(path).exists()] == []
    files = {
        path.as_posix()
        for folder in MAPPED
        for path in Path(folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in ("__init__.py", "py.typed")
    }
    assert {path for path in paths if not path.endswith("/") and path.startswith(MAPPED)} == files


def test_commands_and_targets_exist():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    used = set(re.findall(r"^distill (\w+) ", README, re.MULTILINE))
    assert {"run", "check"} <= used <= commands
    targets = set(re.findall(r"^(\w+):", Path("Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= targets


def test_the_example_recipe_is_a_recipe(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "example.yaml").write_text(example)
    assert load_recipe(tmp_path / "example.yaml").report is not None


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(path):
    assert Path(path).exists()
