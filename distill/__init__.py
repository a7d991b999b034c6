"""Distill a teacher's long reasoning into a small student.

problems -> trajectories -> verdicts -> dataset -> student -> report

Each noun is a section of a recipe, a module of this package, a command, and an artifact of a run.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.look.run import Run

__all__ = ["Run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from distill import Run`, loaded when it is asked for."""
    if name != "Run":
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    from distill.look.run import Run

    return Run
