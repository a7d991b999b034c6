"""The preflight by itself (`distill check R --deep`): every arm's rows as they would be trained on, and what it costs.

Trains nothing and loads no weights. The same checks run before every training.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.chat import join_completion, user_message
from distill.recipe.student import Arm, Scratch, Student
from distill.store import Run
from distill.student import Others, build_base, examples, where_base
from distill.student.base import Base, BaseError, read_base
from distill.student.checks import Fault, Ids
from distill.student.estimate import ASSUMED_USE, Batches, Memory, arithmetic, batches, matrix_speed, memory, shape
from distill.student.rows import Chat, examine, plain_encoder
from distill.student.sft import packs

LOOKED_AT = 1_000
"""Rows of which some are shown."""

Piece = tuple[bool, str]
"""Whether a text has loss, and the text."""


@dataclass(frozen=True)
class Shown:
    """A row as the student sees it."""

    which: str
    tokens: int
    trained: int
    pieces: list[Piece]


@dataclass(frozen=True)
class Costs:
    """What training an arm takes."""

    batches: Batches
    epoch: int
    """Tokens of all rows, once."""
    trained: int
    """Those with loss."""
    parameters: int
    memory: Memory
    operations: float
    seconds_here: float
    """With the matrix speed that was measured here."""


@dataclass(frozen=True)
class Preflight:
    """What was seen of one arm."""

    arm: str
    base: str
    rows: int
    """Rows given."""
    examples: bool
    """Whether they are examples of ours, for want of rows."""
    dropped: dict[str, int] = field(default_factory=dict)
    split: int = 0
    packed: bool = False
    faults: list[Fault] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    costs: Costs | None = None
    """None where there are no rows, or faults."""
    unseen: str = ""
    """Why nothing could be looked at, where it is so."""


def preflights(run: Run, others: Others) -> Iterator[Preflight]:
    """Look at every arm of a recipe, with the rows that its run has so far."""
    section = run.recipe.student
    assert section is not None
    for name, arm in section.arms.items():
        yield _preflight(run, section.of(arm), name, arm, others)


def _preflight(run: Run, section: Student, name: str, arm: Arm, others: Others) -> Preflight:
    sampled = run.manifest("trajectories") is not None
    from_dataset = arm.method == "sft" and arm.rows == "kept"
    made = run.manifest("dataset" if from_dataset else "verdicts") is not None
    where, base_name = where_base(run, section, arm, others)
    for other in run.recipe.others_of(arm):
        if not (Path(others[other]) / "made.json").is_file():
            unseen = f"it needs a student of {other.recipe}, which is not made yet"
            return Preflight(name, base_name, 0, examples=True, unseen=unseen)
    if arm.method in ("grpo", "on_policy"):
        unseen = f"method {arm.method} learns from its own answers: there are no rows to look at"
        return Preflight(name, base_name, 0, examples=True, unseen=unseen)
    if isinstance(arm.base, Scratch):
        if not sampled:
            unseen = "its tokenizer is trained on the run's trajectories, and there are none yet"
            return Preflight(name, base_name, 0, examples=True, unseen=unseen)
        build_base(run, section, arm.base, Path(where))
    try:
        start = read_base(str(where), arm)
    except BaseError as error:
        fault = Fault("base", str(error), "nothing else of this arm can be checked before")
        return Preflight(name, base_name, 0, examples=not made, faults=[fault])
    chats = _chats(run, arm) if made else _examples(run)
    seen = examine(chats, start, section, plain_encoder(start.tokenizer), hold=LOOKED_AT)
    faults = seen.faults()
    return Preflight(
        name,
        base_name,
        len(chats),
        examples=not made,
        dropped=seen.dropped,
        split=seen.split,
        packed=packs(section),
        faults=faults,
        shown=_shown(start, seen.ids, seen.prompts, seen.numbers),
        costs=None
        if faults or not made or arm.method != "sft"
        else _costs(start, section, seen.lengths, sum(seen.prompts)),
    )


def _chats(run: Run, arm: Arm) -> list[Chat]:
    """What an arm is trained on, both sides of its pairs included."""
    if arm.method == "dpo":
        pairs, _ = examples.pairs(run, arm)
        return [chat for pair in pairs for chat in pair]
    return examples.chats(run, arm)


def _costs(start: Base, section: Student, lengths: list[int], untrained: int) -> Costs:
    done = batches(lengths, section, packed=packs(section))
    found = shape(start, section, *done.largest)
    operations = arithmetic(found, done, section)
    devices = section.launch.devices * section.launch.machines if section.launch else 1
    seconds = operations / (matrix_speed(section) * ASSUMED_USE * devices)
    return Costs(
        done, sum(lengths), sum(lengths) - untrained, found.parameters, memory(found, section), operations, seconds
    )


def _shown(start: Base, ids: list[Ids], prompts: list[int], numbers: list[int]) -> list[Shown]:
    """The shortest row, one of middle length, and the longest."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    if not order:
        return []
    places = dict.fromkeys([0, len(order) // 2, len(order) - 1])
    shown = []
    for row in (order[place] for place in places):
        tokens, prompt = ids[row], prompts[row]
        pieces = [(False, start.tokenizer.decode(tokens[:prompt])), (True, start.tokenizer.decode(tokens[prompt:]))]
        shown.append(Shown(f"row {numbers[row]}", len(tokens), len(tokens) - prompt, [p for p in pieces if p[1]]))
    return shown


def _examples(run: Run) -> list[dict[str, Any]]:
    """Rows as the dataset will have them, so that base and template are seen before anything is sampled."""
    pairs = [
        ("What is 17 + 25?", "17 + 25 is 42.\n\nCheck: 42 - 25 = 17.", "The sum is \\boxed{42}."),
        ("Name a prime above 10.", "11 is not even, and 3 does not divide it.", "\\boxed{11}"),
        ("Say hello.", None, "Hello!"),
    ]
    instruction = run.recipe.instructions[None]
    return [
        {
            "prompt": [user_message(problem, instruction)],
            "completion": [{"role": "assistant", "content": join_completion(reasoning, response)}],
        }
        for problem, reasoning, response in pairs
    ]
