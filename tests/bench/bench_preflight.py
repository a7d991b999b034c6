"""The preflight of many rows: every check, with a tokenizer of a real one's size, which is built here first.

    python tests/bench/bench_preflight.py --rows 100000 --chars 2000

Times are of `examine` alone, as `distill check R --deep` and every training call it; rows are the bench corpus, each
reasoning cut to so many characters (0: whole, 20,000 on average). The tokenizer alone is timed on the same texts: what
a preflight takes beyond is rendering and checks.
"""

import argparse
import itertools
import time

from corpus import frames
from transformers import GenerationConfig, Qwen2Config

from distill import scratch
from distill.chat import join_completion
from distill.recipe.student import Arm, Student
from distill.student.base import Base
from distill.student.rows import BATCH_ROWS, examine, plain_encoder

VOCABULARY = 151_000


def big_tokenizer():
    """A byte-level BPE tokenizer with Qwen2's split and as many entries, of the corpus and of made-up words."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    made_up = (" ".join(f"{a}{b}{c}{d}" for d in alphabet) for a, b, c in itertools.product(alphabet, repeat=3))
    texts = [text for frame in frames(500, seed=1) for text in frame["reasoning"].drop_nulls()]
    return scratch.train_tokenizer("qwen2", [*texts, *made_up], VOCABULARY)


def chats(rows, chars):
    """Rows as a dataset has them."""
    made = []
    for frame in frames(rows):
        for problem, reasoning, response in frame.select("problem", "reasoning", "response").iter_rows():
            content = join_completion(
                (reasoning or "")[: chars or None].strip() or "None.", (response or "")[:500].strip()
            )
            made.append(
                {
                    "prompt": [{"role": "user", "content": problem}],
                    "completion": [{"role": "assistant", "content": content}],
                }
            )
    return made


def main():
    """Build the tokenizer, run the preflight, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--chars", type=int, default=2_000)
    asked = parser.parse_args()
    began = time.monotonic()
    tokenizer = big_tokenizer()
    print(f"tokenizer of {len(tokenizer):,} entries, built in {time.monotonic() - began:.0f} s")
    config = Qwen2Config(vocab_size=len(tokenizer), max_position_embeddings=32_768)
    base = Base("bench", tokenizer, config, GenerationConfig(eos_token_id=tokenizer.eos_token_id))
    settings = Student(arms={"a": Arm(base="bench")})
    given = chats(asked.rows, asked.chars)
    size = sum(len(chat["completion"][0]["content"]) for chat in given)
    encode = plain_encoder(tokenizer)

    began, busy = time.monotonic(), time.process_time()
    seen = examine(given, base, settings, encode, hold=1_000)
    whole, busy = time.monotonic() - began, time.process_time() - busy
    for fault in seen.faults():
        print(f"  fault in the corpus: {str(fault)[:150]}")

    began = time.monotonic()
    for start in range(0, len(given), BATCH_ROWS):
        encode([chat["completion"][0]["content"] for chat in given[start : start + BATCH_ROWS]])
    alone = time.monotonic() - began
    tokens = sum(seen.lengths)
    print(f"{asked.rows:,} rows, {size / 1e6:,.0f} MB, {tokens:,} tokens kept, dropped {seen.dropped}")
    print(f"preflight {whole:.1f} s ({busy:.1f} s of one core), {tokens / whole / 1e6:.2f} M tokens/s")
    print(f"tokenizer alone {alone:.1f} s: {alone / whole:.2f} of it")


if __name__ == "__main__":
    main()
