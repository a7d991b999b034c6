"""What open-r1 does, rewritten from its published functions: the baselines of two benchmarks."""

from collections import defaultdict


def repetition_reward(text: str, ngram_size: int, max_penalty: float = -1.0) -> float:
    """`get_repetition_penalty_reward` of ``src/open_r1/rewards.py``, after arXiv:2502.03373, appendix C.2."""
    words = text.lower().split()
    if len(words) < ngram_size:
        return 0.0
    ngrams, total = set(), 0
    for ngram in zip(*[words[i:] for i in range(ngram_size)], strict=False):
        ngrams.add(ngram)
        total += 1
    return (1 - len(ngrams) / total) * max_penalty


def word_ngrams(text: str, n: int) -> list[str]:
    """`normalize_string` and `word_ngrams` of ``scripts/decontaminate.py``."""
    words = " ".join(text.lower().strip().split()).split()
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


def ngram_lookup(documents: list[str], n: int) -> dict[str, set[int]]:
    """`build_ngram_lookup` of ``scripts/decontaminate.py``."""
    lookup = defaultdict(set)
    for number, document in enumerate(documents):
        for ngram in word_ngrams(document, n):
            lookup[ngram].add(number)
    return lookup


def is_contaminated(document: str, lookup: dict[str, set[int]], n: int) -> bool:
    """`find_contaminated` of ``scripts/decontaminate.py``."""
    return any(set(ngram in lookup for ngram in set(word_ngrams(document, n))))  # noqa: C401 - as they have it
