"""Where trajectories fell, as a table with bars in a notebook and as text of 80 columns elsewhere."""

from collections.abc import Iterator
from html import escape
from typing import Any

import polars as pl

from filters import funnel
from filters._display import STYLE, number
from filters._evidence import visible


class Funnel:
    """`filters.funnel` for a person: `frame` has the numbers."""

    def __init__(self, judged: pl.DataFrame) -> None:
        self.frame = funnel(judged, members=True)
        self.rows = judged.height

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        before = None
        for row in self.frame.iter_rows(named=True):
            name = row["filter"] if row["filter"] != before else ""
            before = row["filter"]
            yield visible("  " * name.count(".") + name.rpartition(".")[2]), row

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{escape(name).replace('  ', '&emsp;')}</td><td class='{row['outcome']}'>{row['outcome']}</td>"
            f"<td>{escape(visible(row['reason'] or ''))}</td><td class='n'>{row['rows']:,}</td>"
            f"<td class='n'>{row['share']:.1%}</td><td class='n'>{number(row['mean_score'])}</td>"
            f"<td style='width:14rem'><span class='bar {row['outcome']}' style='width:{self._width(row):.2f}%'></span>"
            "</td></tr>"
            for name, row in self._lines()
        )
        head = "".join(f"<th class='{css}'>{name}</th>" for name, css in _HEAD)
        return (
            f'{STYLE}<div class="distill"><p><b>{self.rows:,} trajectories</b> '
            f"<span class='soft'>share: of those that reached the filter</span></p>"
            f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{body}</tbody></table></div>"
        )

    def _width(self, row: dict[str, Any]) -> float:
        return 100 * float(row["rows"]) / max(self.rows, 1)

    def __repr__(self) -> str:
        lines = [f"{self.rows:,} trajectories"]
        lines.append(f"  {'filter':<22}{'outcome':<9}{'reason':<24}{'rows':>9}{'share':>8}")
        for name, row in self._lines():
            reason = visible(row["reason"] or "")
            lines.append(f"  {name:<22}{row['outcome']:<9}{reason:<24}{row['rows']:>9,}{row['share']:>8.1%}")
        return "\n".join(lines)


_HEAD = (("filter", ""), ("outcome", ""), ("reason", ""), ("rows", "n"), ("share", "n"), ("mean score", "n"))
