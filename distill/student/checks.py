"""What makes a fine-tuning silently wrong: one function for each fault, whose name is its reason.

A check of a row looks at what the student's own tokenizer and template made of it, and returns what it found and the
cure, or nothing. A check of a base looks at tokenizer and configuration. Nothing is mended here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from distill.chat import THINK_CLOSE, THINK_OPEN, split_completion
from distill.recipe.student import Student
from distill.student.base import Base, pad_candidates

Ids = npt.NDArray[np.int32]

Finding = tuple[str, str] | None
"""What is wrong and what to do about it."""


class Row(NamedTuple):
    """One row as text and as ids. `ids` end with the end token where there is one, else with the text."""

    question: str
    content: str
    """What the assistant says, think tags included."""
    prompt: str
    """The rendered prompt, up to where the student goes on by itself."""
    whole: str
    """The rendered conversation."""
    prompt_ids: Ids
    ids: Ids

    @property
    def trained(self) -> str:
        """The text with loss, if the prompt is the beginning of the whole."""
        return self.whole[len(self.prompt) :]


@dataclass
class Fault:
    """Something that a training must not begin with."""

    reason: str
    found: str
    """As seen in the first row that has it."""
    cure: str
    rows: list[int] = field(default_factory=list)
    """Numbers of the rows that have it, from 0; none where the base or the recipe has it."""

    def __str__(self) -> str:
        more = f" and {len(self.rows) - 1:,} more" if len(self.rows) > 1 else ""
        where = f"row {self.rows[0]}{more}: " if self.rows else ""
        return f"{where}{self.reason}: {self.found}; {self.cure}"


class PreflightError(ValueError):
    """A training would be silently wrong. Names every fault, with its first row, its reason and its cure."""

    def __init__(self, what: str, faults: list[Fault]) -> None:
        super().__init__("\n".join(f"{what}: {fault}" for fault in faults))
        self.faults = faults


TRAINING_TEMPLATE = (
    "name a template that keeps it as the arm's chat_template, such as qwen3_training or deepseek_r1_distill_training"
)


# --- the text of a row ------------------------------------------------------------------------------------------------


def reasoning_lost(row: Row, base: Base) -> Finding:
    """The template drops what stands between the think tags, so that it is never learned."""
    reasoning, _ = split_completion(row.content)
    if not reasoning or reasoning in row.whole:
        return None
    return "the student's chat template drops the reasoning, so it would never be learned", TRAINING_TEMPLATE


def response_lost(row: Row, base: Base) -> Finding:
    """The template drops or changes what stands behind the reasoning."""
    _, response = split_completion(row.content)
    if response in row.whole:
        return None
    return "the student's chat template drops or changes the answer, so it would never be learned", TRAINING_TEMPLATE


def question_lost(row: Row, base: Base) -> Finding:
    """The template drops or changes the question."""
    if row.question.strip() in row.whole:
        return None
    return "the question is not in the rendered row", "name another template as the arm's chat_template"


def prompt_not_prefix(row: Row, base: Base) -> Finding:
    """The prompt by itself is not how prompt and completion begin, so that the mask is off."""
    if row.whole.startswith(row.prompt):
        return None
    found = f"the prompt alone ends {row.prompt[-40:]!r}, which is not how prompt and completion begin"
    return f"{found}, so the loss mask would be wrong", "name a template for training as the arm's chat_template"


def question_trained(row: Row, base: Base) -> Finding:
    """The loss covers the question: it stands behind what is rendered as the prompt."""
    if row.question.strip() in row.prompt or row.question.strip() not in row.trained:
        return None
    return (
        "the question is not in the rendered prompt but behind it, so the loss would cover it",
        "name a template that renders the question when it renders the prompt alone",
    )


def think_untrained(row: Row, base: Base) -> Finding:
    """The text has think tags, but neither the loss covers them nor does the prompt open them."""
    if THINK_CLOSE not in row.content:
        return None
    opened = THINK_OPEN in row.trained or row.prompt.rstrip().endswith(THINK_OPEN)
    missing = [tag for tag, there in ((THINK_OPEN, opened), (THINK_CLOSE, THINK_CLOSE in row.trained)) if not there]
    if not missing:
        return None
    return f"the loss does not cover {' and '.join(missing)}, so it would never be written", TRAINING_TEMPLATE


def think_doubled(row: Row, base: Base) -> Finding:
    """The template opens or closes the reasoning a second time, or puts an empty one before it."""
    behind_question = row.whole[: len(row.prompt)].rpartition(row.question.strip())[2] + row.trained
    for tag in (THINK_OPEN, THINK_CLOSE):
        written, given = behind_question.count(tag), row.content.count(tag)
        if given and written > given:
            found = f"the template writes {tag} {written} times where the row has it {given} times"
            return found, "name a template that leaves the tags to the row as the arm's chat_template"
    return None


# --- the ids of a row -------------------------------------------------------------------------------------------------


def prompt_ids_not_prefix(row: Row, base: Base) -> Finding:
    """The prompt's ids are not how the ids of prompt and completion begin: a token reaches over the border."""
    if np.array_equal(row.ids[: len(row.prompt_ids)], row.prompt_ids):
        return None
    last = base.tokenizer.convert_ids_to_tokens(row.prompt_ids[-3:].tolist())
    return (
        f"tokenising prompt and completion together changes the prompt's last tokens ({last}), so the loss mask would "
        "be off",
        "take a template that ends the prompt at a special token or a line break",
    )


def end_untrained(row: Row, base: Base) -> Finding:
    """The loss covers no end token, so that the student never learns to stop."""
    if base.tokenizer.eos_token_id in row.ids[len(row.prompt_ids) :]:
        return None
    last = base.tokenizer.convert_ids_to_tokens(row.ids[-3:].tolist())
    return (
        f"the template ends a turn with {last}, but the tokenizer's end token is {base.tokenizer.eos_token!r}, so the "
        "student would never learn to stop",
        "name the template's as the arm's end_token, for Qwen2.5 bases '<|im_end|>'",
    )


def bos_doubled(row: Row, base: Base) -> Finding:
    """The text begins with two tokens that begin a text."""
    begin = base.tokenizer.bos_token_id
    if begin is None or row.ids[:2].tolist() != [begin, begin]:
        return None
    return (
        f"the row begins with {base.tokenizer.bos_token!r} twice",
        "take it out of the arm's chat_template, once",
    )


def outside_vocabulary(row: Row, base: Base) -> Finding:
    """An id has no row in the embedding."""
    size = getattr(base.config.get_text_config(), "vocab_size", None)
    highest = int(row.ids.max(initial=0))
    if size is None or highest < size:
        return None
    token = base.tokenizer.convert_ids_to_tokens(highest)
    return f"the token {token!r} has no embedding: the model has {size:,}", "take tokenizer and model of one base"


ROW_CHECKS: tuple[Callable[[Row, Base], Finding], ...] = (
    reasoning_lost,
    response_lost,
    question_lost,
    prompt_not_prefix,
    question_trained,
    think_untrained,
    think_doubled,
    prompt_ids_not_prefix,
    end_untrained,
    bos_doubled,
    outside_vocabulary,
)
"""In the order in which they are asked; a row's first fault is its only one, since others follow from it."""


# --- the base ---------------------------------------------------------------------------------------------------------


def end_masked(base: Base) -> Finding:
    """The end token is also what short rows are filled with, which many trainers mask, wherever it stands."""
    tokenizer = base.tokenizer
    others = pad_candidates(tokenizer)
    if tokenizer.pad_token_id != tokenizer.eos_token_id or not others:
        return None
    return (
        f"the end token {tokenizer.eos_token!r} is the pad token as well, so it could be masked and never learned",
        f"name another as the arm's pad_token, such as {others[0]!r}",
    )


def end_not_generated(base: Base) -> Finding:
    """Generation stops at other tokens than the one that rows end with."""
    tokenizer = base.tokenizer
    if tokenizer.eos_token_id in base.stops:
        return None
    stops = ", ".join(str(tokenizer.convert_ids_to_tokens(stop)) for stop in base.stops) or "nothing"
    return (
        f"rows end with {tokenizer.eos_token!r}, but the base's generation config stops at {stops}",
        f"name the arm's end_token, {tokenizer.eos_token!r} or another; it is saved with the student",
    )


BASE_CHECKS: tuple[Callable[[Base], Finding], ...] = (end_masked, end_not_generated)


# --- all rows together ------------------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """What is left to train on, and what the recipe says about it."""

    lengths: Ids
    """Tokens of each row."""
    trained: int
    """Tokens with loss."""
    dropped: dict[str, int]
    settings: Student


def no_rows(kept: Kept, base: Base) -> Finding:
    """Nothing is left to train on."""
    if len(kept.lengths):
        return None
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in kept.dropped.items()) or "none were given"
    return f"no rows to train on ({reasons})", "raise max_length_tokens, or look at the filters' funnel"


def beyond_positions(kept: Kept, base: Base) -> Finding:
    """A row is longer than the model's rotary positions reach."""
    reach = base.positions
    if reach is None or not (kept.lengths > reach).any():
        return None
    longer, longest = int((kept.lengths > reach).sum()), int(kept.lengths.max())
    return (
        f"{longer:,} of {len(kept.lengths):,} rows are longer than the {reach:,} tokens that the model has "
        f"positions for; the longest has {longest:,}",
        f"give the arm a rope, such as {{max_positions: {longest}, theta: 300000.0}}, or max_length_tokens {reach}",
    )


def too_few_trained_tokens(kept: Kept, base: Base) -> Finding:
    """There is less to learn from than the recipe asks for."""
    least = kept.settings.min_trained_tokens
    if kept.trained >= least:
        return None
    return f"{kept.trained:,} tokens have loss, min_trained_tokens is {least:,}", "sample more, or filter less"


KEPT_CHECKS: tuple[Callable[[Kept, Base], Finding], ...] = (no_rows, beyond_positions, too_few_trained_tokens)
