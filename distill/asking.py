"""From the number of a sample to the request for it: what a teacher is shown, at which effort, with which seed.

A request depends on the recipe, the problem and the number of the sample, and on nothing else. Does not decide which
samples are asked for.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from distill.chat import Message, join_completion, user_message
from distill.engines import Engine, Request
from distill.recipe.strategies import Example, Strategies
from distill.recipe.trajectories import Generation
from distill.store import digest, seed_of
from distill.table_file import TableError, read_file

Key = tuple[str, int]
"""problem_id and sample."""

ORIGIN = pl.Schema({"effort": pl.String})
"""What the number of a sample says of it: columns of a trajectory."""

_MAY_CHANGE = ("samples_per_problem", "engine", "engine_args")
"""What does not alter a sample that is already there: how many are asked for, and which engine asks. Of the engine's
arguments those do that its `identity` names, and they are compared by it."""

_SHOWN = ("system", "examples", "effort")
"""What a report does not have. At its default it has no part in a sample's name."""


class Asking:
    """Requests for the samples of some problems (problem_id to text)."""

    def __init__(self, engine: Engine, settings: Generation, problems: Mapping[str, str]) -> None:
        self._settings, self._problems = settings, problems
        self._strategies = strategies_of(settings)
        self._before = {level: self._turns_before(level) for level in (None, *self._strategies.effort)}
        self.asked = _asked(engine, settings)
        """Everything that a sample depends on besides its problem and its number."""
        self.hashes = {problem_id: digest([self.asked, text]) for problem_id, text in problems.items()}
        """Names what is asked of each problem: a sample with another hash answers another question."""

    def request(self, key: Key) -> Request:
        """The request for a sample."""
        problem_id, number = key
        settings, levels = self._settings, self._strategies.effort
        level = effort(settings, problem_id, number)
        question = user_message(self._problems[problem_id], self._instruction(level))
        return Request(
            request_id=f"{problem_id}#{number}",
            messages=(*self._before[level], question),
            max_tokens=levels[level].max_tokens if level else settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            open_think=settings.open_think,
            seed=seed_of(settings.seed, problem_id, number),
            room_tokens=max((each.max_tokens for each in levels.values()), default=settings.max_tokens),
        )

    def _instruction(self, level: str | None) -> str:
        return self._strategies.instruction_at(level, self._settings.instruction)

    def _turns_before(self, level: str | None) -> tuple[Message, ...]:
        """The system prompt and the solved examples, each asked as the problem itself is."""
        turns = [{"role": "system", "content": self._strategies.system}] if self._strategies.system else []
        for example in self._strategies.shown:
            answer = join_completion(example.reasoning, example.response)
            turns += [user_message(example.problem, self._instruction(level)), {"role": "assistant", "content": answer}]
        return tuple(turns)


def strategies_of(settings: Generation) -> Strategies:
    """What is asked beyond the plain question: nothing in a report."""
    return settings if isinstance(settings, Strategies) else Strategies()


def effort(settings: Generation, problem_id: str, number: int) -> str | None:
    """The level of effort of a sample: in turn, from one that differs among problems."""
    levels = [*strategies_of(settings).effort]
    return levels[(number + seed_of(settings.seed, problem_id, "effort")) % len(levels)] if levels else None


def origins(settings: Generation, keys: pl.DataFrame) -> pl.DataFrame:
    """The columns of `ORIGIN` for samples with these keys."""
    rows = [(effort(settings, problem_id, number),) for problem_id, number in keys.iter_rows()]
    return pl.DataFrame(rows, schema=ORIGIN, orient="row")


def read_examples(strategies: Strategies) -> list[Example]:
    """The examples of a recipe, out of their file where they are in one. Raises TableError."""
    if not isinstance(strategies.examples, str):
        return strategies.examples
    rows, _ = read_file(Path(strategies.examples), None, "trajectories.examples")
    return [_example(strategies.examples, number, row) for number, row in enumerate(rows.iter_rows(named=True), 1)]


def _example(path: str, number: int, row: Mapping[str, Any]) -> Example:
    try:
        return Example.model_validate({name: row.get(name) for name in Example.model_fields})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise TableError(
            f"{path}: example {number}: {faults}; expected problem, response and perhaps reasoning"
        ) from None


def same_problems(examples: Iterable[Example], problems: pl.DataFrame) -> pl.Series:
    """Which problems are also examples, whatever their case and white space."""
    texts = {_plain(example.problem) for example in examples}
    return pl.Series([_plain(problem) in texts for problem in problems["problem"]], dtype=pl.Boolean)


def _plain(problem: str) -> str:
    return " ".join(problem.split()).casefold()


def _asked(engine: Engine, settings: Generation) -> dict[str, Any]:
    names = {name for name in Generation.model_fields if name not in _MAY_CHANGE}
    model = {name: engine.identity[name] for name in ("model", "revision", "template_digest")}
    model |= {f"engine_args.{name}": value for name, value in engine.identity["args"].items()}
    plain = settings.model_dump(mode="json", include=names)
    shown = strategies_of(settings).model_dump(mode="json", include={*_SHOWN}, exclude_defaults=True)
    return model | plain | shown
