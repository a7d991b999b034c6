"""Rows of a judged frame as a person looks at them: one below the other, or the samples of a problem side by side."""

from collections.abc import Callable, Iterator
from html import escape

import polars as pl

from distill.store import KEY
from filters._display import STYLE, Explanation, clipped, explanation
from filters._draw import draws
from filters._evidence import visible

SHOWN = 10
"""Rows shown of a selection that is longer."""

Reader = Callable[[pl.DataFrame], pl.DataFrame]
"""Reads the whole rows of some keys."""


class Rows:
    """A selection of rows. Holds their keys; texts are read when they are looked at."""

    def __init__(self, title: str, keys: pl.DataFrame, read: Reader, focus: str | None = None) -> None:
        self.title, self.keys, self._read, self._focus = title, keys, read, focus

    def __len__(self) -> int:
        return self.keys.height

    def __getitem__(self, place: int) -> Explanation:
        if not -len(self) <= place < len(self):
            raise IndexError(f"row {place} of {len(self)}")
        return self._explained(self.keys[place % len(self)])[0]

    def __iter__(self) -> Iterator[Explanation]:
        for begin in range(0, len(self), 1_000):
            yield from self._explained(self.keys[begin : begin + 1_000])

    def sample(self, rows: int = 5, *, seed: int = 0) -> "Rows":
        """Some of them, drawn by a hash of (seed, problem_id, sample)."""
        drawn = self.keys.with_columns(draw=draws(seed, self.keys.select(KEY))).sort("draw").head(rows).drop("draw")
        return Rows(f"{drawn.height} of {self.title}", drawn, self._read, self._focus)

    def head(self, rows: int = 5) -> "Rows":
        """The first of them."""
        few = self.keys.head(rows)
        return Rows(f"{few.height} of {self.title}", few, self._read, self._focus)

    @property
    def frame(self) -> pl.DataFrame:
        """The rows themselves, with their verdict columns."""
        return self._read(self.keys)

    def _explained(self, keys: pl.DataFrame) -> list[Explanation]:
        return [explanation(row, self._focus) for row in self._read(keys).iter_rows(named=True)]

    def _repr_html_(self) -> str:
        shown = "".join(
            f"<details{' open' if len(self) == 1 else ''}><summary>{row.headline()} {escape(_gist(row, 160))}</summary>"
            f"{row.body()}</details>"
            for row in self._explained(self.keys.head(SHOWN))
        )
        return f'{STYLE}<div class="distill"><p><b>{escape(visible(self._title()))}</b></p>{shown}</div>'

    def __repr__(self) -> str:
        parts = [self._title()]
        for row in self._explained(self.keys.head(SHOWN)):
            parts += ["", f"{visible(row.fate)} · {row.details}", *(f"    {line}" for line in row.glance())]
        return "\n".join(parts)

    def _title(self) -> str:
        more = f"; the first {SHOWN}, more by .sample(), .head() and [i]" if len(self) > SHOWN else ""
        return f"{self.title}{more}" if len(self) else f"no {self.title.partition(' ')[2]}"


class Siblings:
    """All samples of one problem."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.rows = [explanation(row) for row in frame.iter_rows(named=True)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Explanation:
        return self.rows[place]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.rows)

    def _repr_html_(self) -> str:
        first = self.rows[0].row
        problem = escape(visible(str(first["problem"]))) if first.get("problem") is not None else ""
        gold = first.get("reference_answer")
        answer = "" if gold is None else f"<h4>reference answer</h4><pre>{escape(visible(str(gold)))}</pre>"
        columns = "".join(
            f"<div><p>{row.headline()}</p>{row.body(('reasoning', 'response'))}</div>" for row in self.rows
        )
        head = f"<h4>problem</h4><pre>{problem}</pre>{answer}"
        return f'{STYLE}<div class="distill">{head}<div class="side">{columns}</div></div>'

    def __repr__(self) -> str:
        first = self.rows[0].row
        lines = [f"problem {visible(str(first['problem_id']))}, {len(self)} samples"]
        lines += [f"  {clipped(str(first.get(name)), 300)}" for name in ("problem",) if first.get(name) is not None]
        if first.get("reference_answer") is not None:
            lines.append(f"  reference answer: {clipped(str(first['reference_answer']), 100)}")
        for row in self.rows:
            lines += ["", f"{visible(row.fate)} · {row.details}", *(f"    {line}" for line in row.glance()[1:])]
        return "\n".join(lines)


def _gist(row: Explanation, chars: int) -> str:
    return clipped(row.evidence[-1] if row.decided and row.evidence else str(row.row.get("problem") or ""), chars)
