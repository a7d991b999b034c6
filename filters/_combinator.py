"""What filters made of other filters have in common: they read what their members read, and are what these are."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from filters._filter import Filter, digested, source_digest
from filters._verdict import EVIDENCE_CHARS


class Combinator(Filter):
    """A filter that consists of others. Says which ones; how their verdicts become one is the subclass's."""

    def members(self) -> Iterator[Filter]:
        """The filters that it combines, in order."""
        raise NotImplementedError

    @property
    def wide(self) -> bool:
        """Whether a member must see rows together."""
        return any(member.wide for member in self.members())

    @property
    def required(self) -> tuple[str, ...]:
        """What any member requires: a frame must have it, though a null in it concerns that member only."""
        return _union(member.required for member in self.members())

    @property
    def optional(self) -> tuple[str, ...]:
        """What members can do without."""
        required = _union(member.required for member in self.members())
        return tuple(c for c in _union(member.optional for member in self.members()) if c not in required)

    @property
    def needed_features(self) -> tuple[str, ...]:
        """What members share."""
        return _union(member.needed_features for member in self.members())

    @property
    def leaves(self) -> tuple[Filter, ...]:
        """The members, down to those that combine nothing."""
        return tuple(leaf for member in self.members() for leaf in member.leaves)

    def check_ready(self) -> None:
        """Every member must be able to judge here."""
        for member in self.members():
            member.check_ready()

    def provenance(self) -> dict[str, Any]:
        """That of the members, and how they are combined."""
        return digested(
            {
                "filter": self.name(),
                "parameters": self._parameters(),
                "source": source_digest(type(self)),
                "libraries": {},
                "members": [member.provenance() for member in self.members()],
            }
        )


def explaining(column: str, judged: pl.DataFrame) -> list[pl.Series]:
    """A member's verdict columns under a combinator's column: ``verdict_any_of.length``."""
    return [c.alias(f"{column}.{c.name.removeprefix('verdict_')}") for c in judged.get_columns()]


def attributed(column: str) -> pl.Expr:
    """A member's verdict with the member's name before its evidence."""
    verdict = pl.col(column).struct
    evidence = pl.format("{}: {}", pl.lit(column.rpartition(".")[2]), verdict.field("evidence"))
    return verdict.with_fields(evidence=evidence.str.head(EVIDENCE_CHARS))


def _union(groups: Iterator[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))
