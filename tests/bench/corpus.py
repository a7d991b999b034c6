"""Synthetic R1-like trajectories: seeded, made on the fly, with known defects planted at known shares.

Texts are random picks from a pool of sentences, so a million rows (20 GB) need no more memory than one frame. They are
meant for measuring speed and planted recall; what real text does to a filter, only real text shows.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from math import log
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from distill.schema import TRAJECTORY

WORDS = json.loads(Path(__file__).with_name("corpus_words.json").read_text(encoding="utf-8"))

PLANTED = {
    "exact_copy": 0.01,  # of an earlier sample of the problem, or of the one before where there is none
    "near_copy": 0.02,  # the same with up to one word in a hundred changed: Jaccard of 5-grams >= 0.85
    "loop": 0.02,
    "foreign": 0.03,  # planted as foreign_zh, foreign_ru, foreign_fr, foreign_es, foreign_de
    "garbage": 0.01,  # mixed scripts after the answer
    "contaminated_trace": 0.005,
    "code": 0.03,
    "long_paragraph": 0.01,
    "truncated": 0.03,
}
"""Share of rows for each defect; a row has one at most."""
CONTAMINATED_PROBLEMS = 0.005
"""Share of problems that are a benchmark item; all their samples are planted ``contaminated_problem``."""
WRONG, BOXED, BOILERPLATE = 0.3, 0.9, 0.05
MEDIAN_CHARS, SIGMA = 16_500, 0.6
"""Of the reasoning, log-normal: 20,000 characters on average."""
POOL_SENTENCES = 40_000
COLUMNS = {**TRAJECTORY, "planted": pl.String}
MADE = (
    "problem_id", "problem", "reference_answer", "domain", "source", "sample", "samples_drawn", "teacher",
    "reasoning", "response", "finish_reason", "prompt_tokens", "completion_tokens", "planted",
)  # fmt: skip
"""Columns that `_rows` makes, in its order; the others are null."""
SLOT = re.compile("@([a-z]+)")


def frames(rows: int, *, seed: int = 0, k: int = 8, frame_rows: int = 1000) -> Iterator[pl.DataFrame]:
    """Trajectories, k samples a problem, with the columns of `TRAJECTORY` and ``planted`` (null: a clean row).

    The rows do not depend on ``rows`` or ``frame_rows``: a longer corpus begins with the shorter one.
    """
    rows_made = _rows(seed, k)
    for start in range(0, rows, frame_rows):
        part = [next(rows_made) for _ in range(min(frame_rows, rows - start))]
        made = pl.DataFrame(part, schema={name: COLUMNS[name] for name in MADE}, orient="row")
        yield made.select(
            pl.col(name) if name in MADE else pl.lit(None, dtype).alias(name) for name, dtype in COLUMNS.items()
        )


@lru_cache(maxsize=4)
def benchmarks(seed: int = 0, items: int = 200) -> list[str]:
    """What the corpus of this seed is contaminated with; some items are short, some end in boilerplate."""
    random = Random(f"benchmark {seed}")
    short = ["What is @n plus @n times @n?", "Simplify @poly over @poly.", "Solve $@v^2 = @n@n$ for $@v$."]
    return [_filled(short[i % 3], random) if i % 20 == 7 else _problem(random) for i in range(items)]


class _Answer(NamedTuple):
    gold: str
    same: str
    """Another way to write it."""


def _rows(seed: int, k: int) -> Iterator[tuple[Any, ...]]:
    before: list[tuple[str, str, str]] = []  # reasoning, response and finish_reason of clean rows, to be copied
    for number in count():
        random = Random(f"{seed} {number}")
        contaminated = random.random() < CONTAMINATED_PROBLEMS
        problem = _variant(random.choice(benchmarks(seed)), random) if contaminated else _problem(random)
        answer, earlier = _answer(random), before
        before = []
        for sample in range(k):
            reasoning, response = _reasoning(seed, random), _response(answer, random)
            plant = "contaminated_problem" if contaminated else _drawn(random)
            planted = _plant(plant, reasoning, response, random, before or earlier, seed)
            reasoning, response, finish, plant = planted
            if plant is None:
                before.append((reasoning, response, finish))
            yield (
                f"corpus-{seed}-{number}", problem, answer.gold, "math", "synthetic", sample, k, "synthetic@1",
                reasoning, response, finish, len(problem) // 4, (len(reasoning) + len(response)) // 4, plant,
            )  # fmt: skip


def _drawn(random: Random) -> str | None:
    draw = random.random()
    for name, share in PLANTED.items():
        draw -= share
        if draw < 0:
            return name
    return None


def _plant(
    plant: str | None, reasoning: str, response: str, random: Random, earlier: list[tuple[str, str, str]], seed: int
) -> tuple[str, str, str, str | None]:
    """The row with the defect: reasoning, response, finish_reason and what was planted."""
    match plant:
        case "exact_copy" | "near_copy" if not earlier:
            plant = None
        case "exact_copy":
            return *random.choice(earlier), plant
        case "near_copy":
            copied, response, finish = random.choice(earlier)
            return _reworded(copied, random), response, finish, plant
        case "loop":
            unit = random.choice(
                ["Wait, let me check this again. ", "18", "\\\\ &= \\frac{1}{2}\n", "So no. ", reasoning[:150]]
            )
            reasoning = _inserted(reasoning, unit * (600 // len(unit) + random.randrange(5, 40)), random)
        case "foreign":
            language = random.choice(list(WORDS["foreign"]))
            for _ in range(random.randrange(2, 6)):
                paragraph = " ".join(random.choices(WORDS["foreign"][language], k=random.randrange(3, 7)))
                reasoning = _inserted(reasoning, f"{paragraph}\n\n", random)
            plant = f"foreign_{language}"
        case "garbage":
            response += "\n\n" + " ".join(random.choices(WORDS["garbage"], k=random.randrange(40, 120)))
        case "contaminated_trace":
            item = _variant(random.choice(benchmarks(seed)), random)
            reasoning = _inserted(reasoning, f"This reminds me of a known problem. {item}\n\n", random)
        case "code":
            for _ in range(random.randrange(1, 4)):
                reasoning = _inserted(reasoning, _filled(random.choice(WORDS["code"]), random), random)
        case "long_paragraph":
            reasoning = reasoning.replace("\n\n", " ")
        case "truncated":
            return reasoning[: len(reasoning) * 2 // 3], "", "length", plant
    return reasoning, response, "stop", plant


@lru_cache(maxsize=2)
def _pool(seed: int) -> tuple[list[str], float]:
    """Sentences that end in a space or close their paragraph, and their mean length."""
    random = Random(f"pool {seed}")
    pool = []
    for _ in range(POOL_SENTENCES):
        sentence = _filled(random.choice(WORDS["sentences"]), random)
        opener = random.choice(WORDS["openers"]) if random.random() < 0.4 else ""
        opened = opener + sentence if opener else sentence[0].upper() + sentence[1:]
        pool.append(opened + ("\n\n" if random.random() < 0.35 else " "))
    return pool, sum(map(len, pool)) / len(pool)


def _reasoning(seed: int, random: Random) -> str:
    pool, mean = _pool(seed)
    chars = min(max(random.lognormvariate(log(MEDIAN_CHARS), SIGMA), 400), 150_000)
    picks = np.frombuffer(random.randbytes(4 * int(chars / mean)), np.uint32) % len(pool)
    return "".join(map(pool.__getitem__, picks.tolist())).rstrip()


def _filled(template: str, random: Random) -> str:
    """The template with every ``@slot`` filled by a random pick."""
    parts = SLOT.split(template)
    parts[1::2] = [_slot(name, random) for name in parts[1::2]]
    return "".join(parts)


def _slot(name: str, random: Random) -> str:
    match name:
        case "n":
            return str(int(10 ** (0.3 + 3 * random.random())))
        case "d":
            return f"{random.randrange(1, 999) / random.choice([4, 8, 10, 100]):g}"
        case "poly":
            a, b, c = random.choices(range(2, 40), k=3)
            return rf"${a}{random.choice('xyt')}^{random.randrange(2, 6)} + {b}{random.choice('xyt')} - {c}$"
        case "frac":
            return rf"$\frac{{{random.randrange(1, 99)}}}{{{random.randrange(2, 99)}}}$"
    return random.choice(WORDS["slots"][name])


def _problem(random: Random) -> str:
    text = " ".join(_filled(part, random) for part in random.sample(WORDS["problems"], k=random.randrange(3, 6)))
    return text + " " + WORDS["relatively_prime"] if random.random() < BOILERPLATE else text


def _variant(text: str, random: Random) -> str:
    """The item as others print it: case, spacing or a suffix differ, the words do not."""
    variants = [text, text.upper(), text.replace("$", " $ "), f"{text} Put your final answer in a box.", f"  {text}\n"]
    return random.choice(variants)


def _answer(random: Random) -> _Answer:
    a, b, c = random.randrange(2, 60), random.randrange(3, 98), random.choice([2, 3, 5, 6, 7, 10, 11])
    small, large = sorted([a - 30, b])
    match random.randrange(9):
        case 0 | 1:
            return _Answer(str(a * b), f"{a * b:,}")
        case 2:
            return _Answer(f"{a}.{c}", f"{a}.{c}0" if c < 10 else f"{a}.{c}")
        case 3:
            return _Answer(rf"\frac{{{a}}}{{{b}}}", f"{a}/{b}")
        case 4:
            return _Answer(f"({a}, {b})", rf"\left({a},{b}\right)")
        case 5:
            return _Answer(rf"\{{{a}, {a + b}\}}", rf"\left\{{{a + b}, {a}\right\}}")
        case 6:
            return _Answer(f"[{small}, {large})", rf"\left[{small}, {large}\right)")
        case 7:
            return _Answer(f"{a}x^2 + {b}", f"{b} + {a}x^{{2}}")
    return _Answer(rf"{a}\sqrt{{{c}}}", rf"{a} \sqrt{{{c}}}")


def _response(answer: _Answer, random: Random) -> str:
    said = answer if random.random() >= WRONG else _answer(random)
    value = said.gold if random.random() < 0.7 else said.same
    text = " ".join(_filled(part, random) for part in random.sample(WORDS["responses"], k=random.randrange(2, 5)))
    stated = r"The final answer is $\boxed{%s}$." if random.random() < BOXED else random.choice(WORDS["stated"])
    return f"{text}\n\n{stated % value}"


def _inserted(text: str, part: str, random: Random) -> str:
    """The part between two paragraphs of the text."""
    at = text.find("\n\n", random.randrange(len(text)))
    return f"{text[: at + 2]}{part}{text[at + 2 :]}" if at >= 0 else f"{text}\n\n{part}"


def _reworded(text: str, random: Random) -> str:
    words = text.split(" ")
    for _ in range(random.randrange(1, max(2, len(words) // 100))):
        words[random.randrange(len(words))] = random.choice(WORDS["slots"]["noun"])
    return " ".join(words)
