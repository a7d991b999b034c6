"""What the commands print reads well at 80 columns, in a log file, and without colour."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest
from typer.testing import CliRunner

from distill.cli import app
from distill.console import fold

RECIPE = """\
problems:
  arithmetic: {count: 60, steps: [1, 3]}
  held_out: 4
trajectories:
  teacher: {program: arithmetic, mistake_share: 0.4}
  samples_per_problem: 4
verdicts:
  - format
  - length: {min_tokens: 20, max_tokens: 60}
  - any_of: [verify_math, readability]
  - verify_math
  - dedup_exact
  - rejection_sampling: {keep: 1, by: shortest}
dataset: {license: apache-2.0}
"""
WRONG = RECIPE.replace("format", "formt").replace("samples_per_problem: 4", "temperature: 1e-1")
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "wrong.yaml").write_text(WRONG)
    (folder / "broken.yaml").write_text("problems: [")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert CliRunner().invoke(app, ["run", "tiny.yaml"]).exit_code == 0
    return folder


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("--help", 0, "view Look at a run in the browser"),
        *((f"{command} --help", 0, f" {command} [OPTIONS]") for command in COMMANDS),
        ("run tiny.yaml", 0, "[1/4] problems: up to date"),
        ("run tiny.yaml --name again", 0, "sampling: 60/60 in"),
        ("verdicts tiny.yaml", 0, "of 60 problems"),
        ("verdicts tiny.yaml --what-if length.max_tokens=40,20000 --what-if rejection_sampling.keep=2", 0, "= 20000 "),
        ("verdicts tiny.yaml --what-if length.max_tokens=40", 0, "rejection_sampling: surplus"),
        ("verdicts tiny.yaml --overlap", 0, "alone: rows that the chain would keep without this filter"),
        ("audit tiny.yaml", 0, "false accept"),
        ("check tiny.yaml", 0, "tiny.yaml: ok (problems, trajectories, verdicts, dataset)"),
        ("filters", 0, "verify_math row Keep a trajectory"),
        *((f"filters {name}", 0, f"{name} (") for name in ("length", "decontaminate", "verify_code", "labels")),
        ("check wrong.yaml", 2, "unknown filter 'formt'"),
        ("run broken.yaml", 2, "broken.yaml:1:12"),
        ("run nowhere.yaml", 2, "cannot read the recipe"),
        ("run tiny.yaml --set trajectories.tempature=0.1", 2, "did you mean 'temperature'?"),
        ("run tiny.yaml --name again --set trajectories.temperature=0.1", 1, "temperature: was 0.6, is 0.1"),
        ("run tiny.yaml --name a/b", 1, "cannot name a run"),
        ("run tiny.yaml --filters nowhere", 2, "no filters in 'nowhere'"),
        ("student tiny.yaml", 1, "no section student; it has problems, trajectories, verdicts, dataset"),
        ("verdicts tiny.yaml --what-if length.max=3", 1, "unknown parameter 'max'"),
        ("verdicts tiny.yaml --what-if nonsense", 1, "expected filter.parameter=VALUE"),
        ("audit tiny.yaml --second nothing", 1, "unknown filter 'nothing'"),
        ("push tiny.yaml nobody --dry-run", 1, "'nobody' is no repository"),
        ("push tiny.yaml me/sums --dataset me/sums", 1, "--student ARM"),
        ("filters lenth", 1, "Did you mean 'length'?"),
        ("view tinny", 1, "no run 'tinny'; did you mean 'tiny'?"),
        ("view tiny --port 99999", 2, "less than or equal to 65535"),
        ("rum tiny.yaml", 2, "Did you mean 'run'?"),
        ("run", 2, "Missing argument"),
    ],
)  # fmt: skip
def test_every_line_fits_and_is_plain_in_a_log_file(folder, monkeypatch, command, code, said):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.split())
    assert [line for line in result.output.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]|Traceback", result.output)


@pytest.mark.parametrize(("term", "escapes"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_without_colour(folder, term, escapes):
    output = on_terminal(folder, {"NO_COLOR": "1", "TERM": term}, "run", "tiny.yaml", "--name", term)
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", output), "no colour"
    assert ("\x1b" in output) == escapes, "bars that move need escapes"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert "160/160" in plain or "60/60" in plain
    assert [line for line in re.split(r"[\r\n]+", plain) if len(line) > 80] == []


def on_terminal(folder, environment, *arguments):
    """What a command writes to a terminal of 80 columns."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        command = [sys.executable, "-m", "distill", *arguments]
        os.execvpe(command[0], command, os.environ | environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    written = b""
    try:
        while part := os.read(terminal, 65_536):
            written += part
    except OSError:
        pass  # the end, as Linux tells it
    os.close(terminal)
    assert os.waitpid(process, 0)[1] == 0, written
    return written.decode()


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("short", "short"),
        ("a bb ccc dddd", "a bb ccc\n    dddd"),
        ("  a bb ccc dddd", "  a bb ccc\n      dddd"),
        ("/a/path/that/is/long is whole", "/a/path/that/is/long\n    is\n    whole"),
        ("two\nlines", "two\nlines"),
        ("", ""),
    ],
)
def test_lines_are_folded_between_words(text, folded):
    assert fold(text, 10) == folded
