"""A push in words: what it would do, and what it did. Text of the Hub is stripped of what moves a terminal."""

import difflib
import re
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from distill.hub.repo import Change, Repo
from distill.push import Plan, Pushed
from distill.push.card import CARD
from distill.push.parcel import Parcel

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def show_plan(parcel: Parcel, repo: Repo, plan: Plan, *, public: bool) -> Iterator[Table | Text]:
    """The files with their sizes and what would become of each, and the card's lines that would change."""
    visibility = "public" if public else "private"
    state = f"is there, {visibility}" if plan.head else f"would be created, {visibility}"
    yield Text(f"{parcel.kind} {repo.id} {state}. Nothing was sent.\n")
    yield _files(plan)
    yield from _replaced(plan)
    if plan.card != plan.card_there:
        yield Text("\nThe card:" if plan.card_there else "\nThe card, which is new:")
        lines = difflib.unified_diff(
            plan.card_there.splitlines(), plan.card.splitlines(), "on the Hub", "would be", lineterm="", n=1
        )
        yield Text(_CONTROL.sub("\ufffd", "\n".join(lines)))


def show_pushed(pushed: Pushed) -> Iterator[Text]:
    """Where it is now."""
    if not pushed.commits:
        yield Text(f"The Hub holds all of it already: nothing was sent, no commit made.\n{pushed.url}")
        return
    commits = "one commit" if pushed.commits == 1 else f"{pushed.commits} commits"
    yield Text(f"{pushed.changed} files in {commits}, read again and compared: {pushed.commit}\n{pushed.url}")


def _files(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("would be")
    changes = {change.path: change for change in plan.changes}
    held = plan.head.files if plan.head else {}
    for path in sorted({*plan.wanted, *changes}, key=lambda path: (path != CARD, path)):
        file = plan.wanted.get(path)
        fate = _fate(changes.get(path), there=path in held)
        table.add_row(Text(path), f"{file.size if file else held[path].size:,}", fate)
    return table


def _fate(change: Change | None, *, there: bool) -> str:
    if change is None:
        return "as it is"
    if change.file is None:
        return "deleted"
    return "changed" if there else "new"


def _replaced(plan: Plan) -> Iterator[Text]:
    if plan.replaced:
        names = ", ".join(repr(heading) for heading in plan.replaced)
        yield Text(
            f"\nSections that distill generates were edited on the Hub and would be written anew: {names}. "
            "To keep your words, move them into a section with a heading of its own."
        )
