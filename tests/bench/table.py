"""The table that every benchmark prints: baseline and ours, timed on the same rows in one run."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

HEADER = f"{'job':<44} {'baseline s':>10} {'ours s':>8} {'ratio':>7}  target"


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that the job took, and its result."""
    start = perf_counter()
    result = job()
    return perf_counter() - start, result


def row(job: str, baseline_s: float, ours_s: float, target: str = "") -> str:
    """One line below `HEADER`; ``target`` as in ">= 4x"."""
    return f"{job:<44} {baseline_s:>10.2f} {ours_s:>8.2f} {baseline_s / ours_s:>6.1f}x  {target}"
