"""The whole chain against `datasets.map` and `filter` with what the peers' scripts do, num_proc 2, on the same rows.

    python tests/bench/bench_chain.py --rows 20000

The baseline does each step row by row in Python, as open-r1's and TRL's code does: format by a regular expression,
20-gram repetition, letters by script and langdetect on whole texts, `accuracy_reward`, sets of digests, datasketch's
MinHash and LSH, sets of word 10-grams. Where the two disagree, the rows are counted by what was planted in them:
langdetect on a whole text cannot see a foreign paragraph.
"""

import argparse
import hashlib
import os
import re
from collections import Counter, defaultdict
from typing import Any

import polars as pl
from corpus import benchmarks, frames
from datasets import Dataset, disable_progress_bars
from open_r1 import is_contaminated, ngram_lookup, repetition_reward
from table import HEADER, row, timed
from whole_chain import whole_chain

from filters import kept

BOX = re.compile(r"\\boxed\{")
OTHER_SCRIPT = re.compile(r"[\u0400-\u052f\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
LOOKUP = ngram_lookup(benchmarks(), 10)


def _whole(row: dict[str, Any]) -> str:
    return f"{row['reasoning']}\n{row['response']}"


def _well_formed(row: dict[str, Any]) -> bool:
    boxes = len(BOX.findall(row["response"] or ""))
    return row["finish_reason"] == "stop" and bool(row["reasoning"]) and boxes == 1 and "<think>" not in _whole(row)


def _readable(row: dict[str, Any]) -> bool:
    paragraphs = row["reasoning"].split("\n\n")
    return (
        64 <= row["completion_tokens"] <= 32_768 and "```" not in row["reasoning"] and max(map(len, paragraphs)) <= 3000
    )


def _does_not_repeat(row: dict[str, Any]) -> bool:
    return -repetition_reward(_whole(row), 20) <= 0.4


def _in_english(row: dict[str, Any]) -> bool:
    from langdetect import DetectorFactory, detect

    DetectorFactory.seed = 0
    text = _whole(row)
    return len(OTHER_SCRIPT.findall(text)) <= 0.0005 * len(text) and detect(text) == "en"


def _right(batch: dict[str, list[Any]]) -> list[bool]:
    from trl.rewards import accuracy_reward

    pairs = zip(batch["reasoning"], batch["response"], strict=True)
    completions = [[{"role": "assistant", "content": f"<think>\n{a}\n</think>\n\n{b}"}] for a, b in pairs]
    rewards = accuracy_reward(completions, [f"${gold}$" for gold in batch["reference_answer"]])
    return [reward == 1 for reward in rewards]


def _clean(row: dict[str, Any]) -> bool:
    return not is_contaminated(row["problem"], LOOKUP, 10) and not is_contaminated(_whole(row), LOOKUP, 10)


def _signature(row: dict[str, Any]) -> dict[str, Any]:
    from datasketch import MinHash

    words = _whole(row).lower().split()
    sketch = MinHash(num_perm=128, scheme="affine32")
    sketch.update_batch([" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)])
    return {"signature": sketch.hashvalues.tolist(), "digest": hashlib.sha256(" ".join(words).encode()).hexdigest()}


def peers(frame: pl.DataFrame) -> set[tuple[str, int]]:
    """Keys of the rows that the peers' functions keep."""
    from datasketch import MinHash, MinHashLSH

    rows = Dataset(frame.drop("planted").to_arrow())
    for keeps in (_well_formed, _readable, _does_not_repeat, _in_english):
        rows = rows.filter(keeps, num_proc=2)
    rows = rows.filter(_right, batched=True, batch_size=100, num_proc=2)
    rows = rows.map(_signature, num_proc=2)
    index, seen, unique = MinHashLSH(threshold=0.85, num_perm=128), set(), []
    for place, (problem, digest, signature) in enumerate(
        zip(rows["problem_id"], rows["digest"], rows["signature"], strict=True)
    ):
        sketch = MinHash(num_perm=128, hashvalues=signature, scheme="affine32")
        if (problem, digest) not in seen and not index.query(sketch):
            index.insert(place, sketch)
            unique.append(place)
        seen.add((problem, digest))
    rows = rows.select(unique).filter(_clean, num_proc=2)
    groups = defaultdict(list)
    for key in zip(rows["problem_id"], rows["completion_tokens"], rows["sample"], strict=True):
        groups[key[0]].append(key[1:])
    return {(problem, sample) for problem, found in groups.items() for _, sample in sorted(found)[:2]}


def main() -> None:
    """Print the table, and who is kept by one only."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000)
    options = parser.parse_args()
    disable_progress_bars()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    frame = pl.concat(frames(options.rows))
    peers(frame.head(20))  # imports what it needs
    theirs_s, theirs = timed(lambda: peers(frame))
    ours_s, judged = timed(lambda: whole_chain().judge(frame))
    ours = set(kept(judged).select("problem_id", "sample").iter_rows())
    print(HEADER)
    print(row(f"the whole chain, {options.rows:,} rows", theirs_s, ours_s, ">= 5x"))
    both, mine, others = ours & theirs, ours - theirs, theirs - ours
    print(f"kept by both {len(both):,}, by ours only {len(mine):,}, by theirs only {len(others):,}")
    displaced = {problem for problem, _ in others}
    print(f"of those by ours only, in problems of which theirs keeps another: {sum(p in displaced for p, _ in mine):,}")
    planted = {(p, s): what or "nothing" for p, s, what in frame.select("problem_id", "sample", "planted").iter_rows()}
    for who, keys in (("ours", mine), ("theirs", others)):
        print(f"kept by {who} only, by what is planted: {dict(Counter(planted[key] for key in keys).most_common())}")


if __name__ == "__main__":
    main()
