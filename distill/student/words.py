"""A preflight as tables that are read at 80 columns, and rows whose mask is read without colour."""

from collections.abc import Iterator

from rich.cells import chop_cells
from rich.table import Table
from rich.text import Text

from distill.plan.words import size
from distill.progress import duration, number
from distill.recipe.student import Student
from distill.student.estimate import ASSUMED_USE, H100_FLOPS
from distill.student.preflight import Costs, Preflight, Shown
from filters._evidence import visible

COLUMNS = 76
HEAD, TAIL = 5, 3
"""Lines shown of a text's beginning and end."""


def show_preflight(seen: Preflight, settings: Student) -> Iterator[Table | Text]:
    """What was seen of an arm: rows, costs, and three rows with their mask. Faults are the caller's."""
    yield Text(f"\nstudent {seen.arm}, from {visible(seen.base)}", style="bold")
    if seen.unseen:
        yield Text(f"  not checked: {seen.unseen}")
        return
    if seen.examples:
        yield Text("  no rows yet: three examples are checked in their place")
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    if not seen.examples:
        for line in _rows(seen):
            table.add_row(*line)
    if seen.costs is not None:
        for line in _costs(seen.costs, settings, packed=seen.packed):
            table.add_row(*line)
    if table.row_count:
        yield table
    if seen.shown and not seen.faults:
        yield Text("\nWith loss (+) and without (.); the middle of long texts is left out.")
        for row in seen.shown:
            yield from _mask(row)


Line = tuple[str, str, str]


def _rows(seen: Preflight) -> Iterator[Line]:
    yield "rows", f"{seen.rows:,}", ""
    for reason, count in seen.dropped.items():
        yield "dropped", f"{count:,}", f"{count / seen.rows:.2%}: {reason}"
    if seen.split:
        yield "split", f"{seen.split:,}", f"{seen.split / seen.rows:.2%}: into rows of max_length_tokens"


def _costs(costs: Costs, settings: Student, *, packed: bool) -> Iterator[Line]:
    done, launch = costs.batches, settings.launch
    epochs = done.steps * settings.batch_rows
    yield "tokens", f"{done.tokens:,}", f"of {done.steps:,} steps of {settings.batch_rows} rows ({epochs:,} rows)"
    yield "  an epoch", f"{costs.epoch:,}", f"{costs.trained:,} with loss ({costs.trained / costs.epoch:.0%})"
    yield "efficiency", f"{done.efficiency:.1%}", f"of what is computed is rows; {'packed' if packed else 'padded'}"
    rows, length = done.largest
    yield "passes", f"{done.per_step:,}", f"a step; the largest of {rows} x {length:,} tokens"
    yield "parameters", number(costs.parameters), "LoRA" if settings.lora else "all trained"
    kept = costs.memory
    parts = (
        ("weights", kept.weights),
        ("gradients", kept.gradients),
        ("optimizer", kept.optimizer),
        ("activations", kept.activations),
    )
    yield "memory", size(kept.total), "on each device; " + ", ".join(f"{name} {size(part)}" for name, part in parts)
    devices = launch.devices * launch.machines if launch else 1
    use = f"if {ASSUMED_USE:.0%} of its matrix speed is reached"
    here = duration(costs.seconds_here) if costs.seconds_here >= 60 else "< 1 min"
    yield "time here", here, f"on {_devices(devices)}, {use}"
    if costs.seconds_here > 3600:
        seconds = costs.operations / (H100_FLOPS * ASSUMED_USE * devices)
        yield "time on H100", duration(seconds), f"on {_devices(devices)}, likewise; {number(costs.operations)} FLOP"


def _devices(count: int) -> str:
    return "one device" if count == 1 else f"{count} devices"


def _mask(row: Shown) -> Iterator[Text]:
    yield Text(f"\n{row.which}: {row.tokens:,} tokens, {row.trained:,} with loss")
    for trained, text in row.pieces:
        lines = [
            part for line in visible(text).expandtabs(4).splitlines() for part in chop_cells(line, COLUMNS) or [""]
        ]
        left_out = len(lines) - HEAD - TAIL
        if left_out > 1:
            lines[HEAD:-TAIL] = [f"[{left_out:,} lines]"]
        for line in lines:
            yield Text(f"  {'+' if trained else '.'} {line}", style="green" if trained else "dim")
