"""The chain that benchmarks measure: R1's filters, as far as they need no server and run no program."""

from filters import Chain, load_entry

ENTRIES = [
    "format",
    {"length": {"min_tokens": 64, "max_tokens": 32_768}},
    "repetition",
    "language_mix",
    "verify_math",
    "dedup_exact",
    "dedup_near",
    {"rejection_sampling": {"keep": 2, "by": "shortest"}},
]


def whole_chain() -> Chain:
    """The chain, ready to judge."""
    return Chain([load_entry(entry) for entry in ENTRIES])
