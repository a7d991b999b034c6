"""The chain that benchmarks measure: R1's filters, as far as they need no server and run no program."""

from corpus import benchmarks

from filters import Chain, load_entry

ENTRIES = [
    "format",
    {"length": {"min_tokens": 64, "max_tokens": 32_768}},
    "readability",
    "repetition",
    "language_mix",
    "verify_math",
    "dedup_exact",
    "dedup_near",
    {"decontaminate": {"texts": benchmarks(), "problem_share": 0.0, "trace_share": 0.0, "boilerplate_documents": None}},
    {"rejection_sampling": {"keep": 2, "by": "shortest"}},
]
"""Decontamination as open-r1 has it, where a single n-gram rejects, so that a baseline can do the same."""


def whole_chain() -> Chain:
    """The chain, ready to judge."""
    return Chain([load_entry(entry) for entry in ENTRIES])
