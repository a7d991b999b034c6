"""Filters judge trajectories. They never drop, change or reorder a row.

A filter is a named, parameterised Polars expression whose value is a verdict: ``keep``, ``reject`` or
``abstain``, with a reason, the score behind it and the evidence that a person wants to see.

Every public module of this package is one filter (but for `filters.testing`), and its file name is its name in a
recipe: ``filters/length.py`` is ``length: {max_tokens: 16384}``. To add a filter, add a file, here or in a folder of
your own that `add_folder` names.

    >>> from filters import Chain, funnel, kept
    >>> from filters.length import Length
    >>> trajectories.with_columns(Length(max_tokens=8192).verdict())   # one filter, every row
    >>> judged = Chain([Length(), DedupExact()]).judge(trajectories)   # a chain, first rejection wins
    >>> funnel(judged)                                                 # how many fell where, and why
    >>> kept(judged)                                                   # what a student may learn from

The package needs Polars and pydantic. It knows nothing of teachers, students, recipes or GPUs, and a filter's
heavy library (math-verify, langdetect, datasketch) is imported only when that filter judges.
"""

from filters._answers import canonical_answer, extract_answer
from filters._chain import Chain
from filters._filter import Filter, RowsAt
from filters._funnel import funnel, kept, overlap, through, verdict_columns
from filters._pairs import preference_pairs
from filters._registry import FilterEntry, add_folder, available, filter_class, folders, load, load_entry
from filters._verdict import KEEP, VERDICT, FilterError, Verdict, abstain, reject, verdict_where

__all__ = [
    "KEEP",
    "VERDICT",
    "Chain",
    "Filter",
    "FilterEntry",
    "FilterError",
    "RowsAt",
    "Verdict",
    "abstain",
    "add_folder",
    "available",
    "canonical_answer",
    "extract_answer",
    "filter_class",
    "folders",
    "funnel",
    "kept",
    "load",
    "load_entry",
    "overlap",
    "preference_pairs",
    "reject",
    "through",
    "verdict_columns",
    "verdict_where",
]
