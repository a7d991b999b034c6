"""How the command line writes: as wide as the terminal; in a file or pipe 80 columns without colour or padding.

What is written is the library's; this knows only the width.
"""

import io
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from distill.progress import Progress

COLUMNS = 80
"""Where there is no terminal."""


def progress() -> "Progress":
    """Bars on a terminal that can draw them, plain lines elsewhere."""
    from rich.console import Console

    from distill.progress import Lines, Terminal

    console = Console(highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return Terminal(console)
    return Lines(say)


def say(line: str) -> None:
    """Write a line to the output at once, folded if it is long."""
    typer.echo(fold(line, COLUMNS))
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write what is wrong to the error output."""
    from rich.console import Console

    typer.echo(fold(text, Console(stderr=True).width if sys.stderr.isatty() else COLUMNS), err=True)


def show(renderables: Iterable[Any]) -> None:
    """Write tables and texts to the output."""
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    for renderable in renderables:
        if on_terminal:
            Console(highlight=False).print(renderable)
            continue
        page = io.StringIO()
        Console(file=page, highlight=False, width=COLUMNS, color_system=None).print(renderable)
        typer.echo("\n".join(line.rstrip() for line in page.getvalue().split("\n")), nl=False)


def fold(text: str, width: int) -> str:
    """The text in lines of a width, broken between words, which stay whole; what goes on in another is indented."""
    return "\n".join(line if len(line) <= width else _folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
