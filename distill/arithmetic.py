"""Multi-step arithmetic with known answers: problems, and the long reasoning a patient teacher would write.

Everything is a pure function of its arguments; nothing here knows a model, a tokenizer or a run folder.
It does not grade answers: that is the verifier filter's job.
"""

from __future__ import annotations

import hashlib
import random
import re

MAX_VALUE = 99
"""Every value on the way to an answer lies in 0..MAX_VALUE."""

MULTIPLIERS = (2, 3, 4, 5)
HELD_OUT_ONE_IN = 8
"""One text in this many is a held-out text."""

_DIGITS = len(str(MAX_VALUE))
_SIGNS = {"add": "+", "subtract": "-", "multiply by": "*"}
_PROBLEM = re.compile(r"Start with (\d+)\.((?: Step \d+: (?:add|subtract|multiply by) \d+\.)+) What is the result\?")
_STEP = re.compile(r"Step \d+: (add|subtract|multiply by) (\d+)\.")


def is_held_out(problem: str) -> bool:
    """Whether a problem text belongs to the held-out side, whatever seed or recipe made it."""
    digest = hashlib.blake2b(problem.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_ONE_IN == 0


def generate(count: int, *, steps: tuple[int, int], seed: int, held_out: bool) -> list[tuple[str, str]]:
    """`count` distinct (problem, answer) pairs of `steps[0]` to `steps[1]` operations from one side of the split.

    Train and held-out problems are disjoint for all seeds and step ranges, because the text alone decides its side.
    """
    low, high = steps
    if not 1 <= low <= high:
        raise ValueError(f"steps: found {steps}, expected 1 <= first <= last; give the fewest and the most operations")
    rng = random.Random(f"problems {seed} {low} {high} {held_out}")
    found: dict[str, str] = {}
    misses = 0
    while len(found) < count:
        problem, answer = _draw(rng, rng.randint(low, high))
        if is_held_out(problem) == held_out and problem not in found:
            found[problem] = str(answer)
            misses = 0
            continue
        misses += 1
        if misses > 2000:
            side = "held-out" if held_out else "training"
            raise ValueError(
                f"count: {count} distinct {side} problems of {low} to {high} steps asked, no new one after"
                f" {len(found)}; ask for fewer or allow more steps"
            )
    return list(found.items())


def solve(problem: str, *, mistake_share: float = 0.08, seed: int = 0) -> str:
    """The completion a teacher would write for `problem`: reasoning in think tags, then the boxed answer.

    A share of the steps first goes wrong in one column, is noticed, and is done again. The answer is always right.
    The same problem and seed give the same text.
    """
    start, operations = _parse(problem)
    rng = random.Random(f"solution {seed} {problem}")
    value = start
    lines: list[str] = []
    for number, (verb, operand) in enumerate(operations, start=1):
        columns, result = _columns(value, verb, operand)
        header = f"Step {number}: {_pad(value)}{_SIGNS[verb]}{_operand(verb, operand)}"
        if rng.random() < mistake_share:
            lines += [header, *_slip(columns, rng), "Wait, let me redo this step."]
        lines += [header, *columns, f"So {_pad(result)}"]
        value = result
    lines.append(f"Check: {len(operations)} steps, {_pad(value)}.")
    return "<think>\n" + "\n".join(lines) + f"\n</think>\n\nThe result is \\boxed{{{value}}}."


def _draw(rng: random.Random, steps: int) -> tuple[str, int]:
    value = rng.randint(1, MAX_VALUE)
    parts = [f"Start with {value}."]
    for number in range(1, steps + 1):
        verb, operand = rng.choice(_choices(value, rng))
        value = _apply(value, verb, operand)
        parts.append(f"Step {number}: {verb} {operand}.")
    return " ".join([*parts, "What is the result?"]), value


def _choices(value: int, rng: random.Random) -> list[tuple[str, int]]:
    """One candidate operation of each kind that keeps the value in range."""
    choices = []
    if value < MAX_VALUE:
        choices.append(("add", rng.randint(1, MAX_VALUE - value)))
    if value > 1:
        choices.append(("subtract", rng.randint(1, value)))
    fitting = [factor for factor in MULTIPLIERS if value * factor <= MAX_VALUE]
    if fitting:
        choices.append(("multiply by", rng.choice(fitting)))
    return choices


def _apply(value: int, verb: str, operand: int) -> int:
    return {"add": value + operand, "subtract": value - operand, "multiply by": value * operand}[verb]


def _parse(problem: str) -> tuple[int, list[tuple[str, int]]]:
    match = _PROBLEM.fullmatch(problem)
    if match is None:
        raise ValueError(
            f"problem: found {problem[:120]!r}, expected 'Start with N. Step 1: add|subtract|multiply by M. …"
            " What is the result?'; only problems made by distill.arithmetic.generate can be solved here"
        )
    return int(match[1]), [(verb, int(operand)) for verb, operand in _STEP.findall(match[2])]


def _pad(value: int) -> str:
    return str(value).zfill(_DIGITS)


def _operand(verb: str, operand: int) -> str:
    return str(operand) if verb == "multiply by" else _pad(operand)


def _columns(value: int, verb: str, operand: int) -> tuple[list[str], int]:
    """The written work, one line a digit from the ones up, and the result.

    What is carried or borrowed stands before the digit that is written: a small model learns the digit sooner where it
    follows from that than where it is a remainder.
    """
    carry = 0
    lines = []
    for power in range(_DIGITS):
        digit = value // 10**power % 10
        other = operand if verb == "multiply by" else operand // 10**power % 10
        if verb == "subtract":
            written, next_carry = (digit - other - carry) % 10, int(digit < other + carry)
            work = f"{digit}-{other}-{carry} borrow {next_carry}={written}"
        else:
            total = digit + other + carry if verb == "add" else digit * other + carry
            next_carry = total // 10
            work = f"{digit}{_SIGNS[verb]}{other}+{carry}={total:02}"
        lines.append(work)
        carry = next_carry
    return lines, _apply(value, verb, operand)


def _slip(columns: list[str], rng: random.Random) -> list[str]:
    """The work up to and including one column whose written digit is wrong."""
    at = rng.randrange(len(columns))
    right, written = columns[at][:-1], columns[at][-1]
    return [*columns[:at], f"{right}{(int(written) + rng.randint(1, 9)) % 10}"]
