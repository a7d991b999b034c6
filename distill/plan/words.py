"""A plan as a table that is read at 80 columns."""

import math
from collections.abc import Callable, Iterator

from rich.table import Table
from rich.text import Text

from distill.plan import Line, Plan
from distill.progress import duration, number


def show_plan(plan: Plan) -> Iterator[Table | Text]:
    """The numbers with their intervals, and what they come from."""
    table = Table(title=plan.title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("", overflow="fold")
    for line in plan.lines:
        table.add_row(line.name, *_amount(line), Text(line.note))
    yield table
    yield Text()
    for remark in plan.remarks:
        yield Text(remark)


def _amount(line: Line) -> tuple[str, str]:
    if line.amount is None:
        return "?", ""
    value, low, high = (_SHOWN[line.unit](each) for each in line.amount)
    if line.amount.low == line.amount.high:
        return value if line.amount.value % 1 else f"{line.amount.value:,.0f}", ""
    return value, f"{low} - {high}"


def size(value: float) -> str:
    """Bytes: 12 kB, 1.2 GB."""
    power = min(4, int(math.log10(max(value, 1000))) // 3)
    return f"{number(value / 1000**power)} {' kMGT'[power]}B"


_SHOWN: dict[str, Callable[[float], str]] = {"": number, "s": duration, "B": size}
