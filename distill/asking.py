"""From the number of a sample to the request for it: what a teacher is shown, at which effort, with which seed.

A request depends on the recipe, the problem and the number of the sample, and where the sample follows from another one
on that one's text. Does not decide which samples are asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from distill.chat import THINK_CLOSE, THINK_OPEN, Message, join_completion, split_completion, user_message
from distill.engines import Engine, Request
from distill.lineage import Key, continuation, method, parent, plain
from distill.recipe.strategies import Example, Strategies
from distill.recipe.trajectories import Generation
from distill.store import digest, seed_of, text_digest
from distill.table_file import TableError, read_file

ORIGIN = pl.Schema({"effort": pl.String, "method": pl.String, "parent": pl.Int32})
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
        self.strategies = strategies_of(settings)
        self._before = {level: self._turns_before(level) for level in (None, *self.strategies.effort)}
        self.asked = _asked(engine, settings)
        """Everything that a sample depends on besides its problem and its number."""
        self.hashes = {problem_id: digest([self.asked, text]) for problem_id, text in problems.items()}
        """Names what is asked of each problem: a sample with another hash answers another question."""

    @property
    def continues(self) -> bool:
        """Whether truncated samples are gone on with."""
        return self.strategies.continue_tokens > 0

    def continued(self, first: Request, named: str, key: Key, text: str) -> tuple[Request, str]:
        """The request that goes on with a text which was cut, and its hash; `first` and `named` are those of the text.
        `key` is that of the second part.
        """
        budget = self.strategies.continue_tokens
        request = replace(
            first,
            request_id=f"{first.request_id}+",
            prefix=text.rstrip("\ufffd"),  # half of a character, where the cut went through it
            max_tokens=budget,
            seed=seed_of(self._settings.seed, key[0], continuation(key[1]), "continue"),
        )
        return request, digest([named, "continue", budget, text_digest(text)])

    def mended(self, key: Key, text: str, complaint: str) -> tuple[Request, str]:
        """The request for a sample that mends a text, and its hash."""
        assert self.strategies.refine is not None
        request = self.plain(key)
        solution = {"role": "assistant", "content": attempt(text) or ""}
        again = user_message(self.strategies.refine.asks(complaint), self._instruction(self._level(key)))
        return self._differing(replace(request, messages=(*request.messages, solution, again)))

    def hinted(self, key: Key, answer: str) -> tuple[Request, str]:
        """The request for a sample that is given the answer, and its hash."""
        assert self.strategies.hint_unsolved is not None
        hint = self.strategies.hint_unsolved.instruction.replace("{answer}", answer)
        question = user_message(self._problems[key[0]], hint)["content"]
        asked = user_message(question, self._instruction(self._level(key)))
        request = self.plain(key)
        return self._differing(replace(request, messages=(*request.messages[:-1], asked)))

    def _differing(self, request: Request) -> tuple[Request, str]:
        problem_id = request.request_id.rpartition("#")[0]
        return request, digest([self.hashes[problem_id], "asked", list(request.messages)])

    def plain(self, key: Key) -> Request:
        """The plain question."""
        problem_id, number = key
        settings, levels = self._settings, self.strategies.effort
        level = self._level(key)
        question = user_message(self._problems[problem_id], self._instruction(level))
        return Request(
            request_id=f"{problem_id}#{number}",
            messages=(*self._before[level], question),
            max_tokens=levels[level].max_tokens if level else settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            open_think=settings.open_think,
            seed=seed_of(settings.seed, problem_id, number),
            room_tokens=most_tokens(settings),
        )

    def _level(self, key: Key) -> str | None:
        return effort(self._settings, *key)

    def _instruction(self, level: str | None) -> str:
        return self.strategies.instruction_at(level, self._settings.instruction)

    def _turns_before(self, level: str | None) -> tuple[Message, ...]:
        """The system prompt and the solved examples, each asked as the problem itself is."""
        turns = [{"role": "system", "content": self.strategies.system}] if self.strategies.system else []
        for example in self.strategies.shown:
            answer = join_completion(example.reasoning, example.response)
            turns += [user_message(example.problem, self._instruction(level)), {"role": "assistant", "content": answer}]
        return tuple(turns)


def strategies_of(settings: Generation) -> Strategies:
    """What is asked beyond the plain question: nothing in a report."""
    return settings if isinstance(settings, Strategies) else Strategies()


def most_tokens(settings: Generation) -> int:
    """Of one sample, its second budget included."""
    strategies = strategies_of(settings)
    levels = [level.max_tokens for level in strategies.effort.values()]
    return max(levels, default=settings.max_tokens) + strategies.continue_tokens


def effort(settings: Generation, problem_id: str, number: int) -> str | None:
    """The level of effort of a sample: in turn, from one that differs among problems; what mends one has its."""
    levels = [*strategies_of(settings).effort]
    return levels[(plain(number) + seed_of(settings.seed, problem_id, "effort")) % len(levels)] if levels else None


def origins(settings: Generation, keys: pl.DataFrame) -> pl.DataFrame:
    """The columns of `ORIGIN` for samples with these keys."""
    levels = [effort(settings, problem_id, number) for problem_id, number in keys.iter_rows()]
    number = pl.col("sample")
    named = keys.select(method=method(number), parent=parent(number))
    return named.select(pl.Series("effort", levels, dtype=pl.String), "method", pl.col("parent").cast(pl.Int32))


def attempt(text: str) -> str | None:
    """What of a completion is shown when it is to be mended: the response, without think tags; None where none is."""
    reasoning, response = split_completion(text)
    if reasoning is None and THINK_OPEN in response:
        return None
    # Templates look for these tags in earlier turns, and cut there.
    return response.replace(THINK_OPEN, "").replace(THINK_CLOSE, "").strip() or None


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
    texts = {_folded(example.problem) for example in examples}
    return pl.Series([_folded(problem) in texts for problem in problems["problem"]], dtype=pl.Boolean)


def _folded(problem: str) -> str:
    return " ".join(problem.split()).casefold()


def _asked(engine: Engine, settings: Generation) -> dict[str, Any]:
    names = {name for name in Generation.model_fields if name not in _MAY_CHANGE}
    model = {name: engine.identity[name] for name in ("model", "revision", "template_digest")}
    model |= {f"engine_args.{name}": value for name, value in engine.identity["args"].items()}
    plain = settings.model_dump(mode="json", include=names)
    shown = strategies_of(settings).model_dump(mode="json", include={*_SHOWN}, exclude_defaults=True)
    return model | plain | shown
