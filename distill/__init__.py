"""Distill a teacher's long reasoning into a small student.

problems -> trajectories -> verdicts -> dataset -> student -> report

Each noun is a section of a recipe, a module of this package, a command, and an artifact of a run.
"""

__version__ = "0.1.0"
