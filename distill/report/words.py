"""The report at the end of a command: for each set of problems who scored what, what differs, and how models answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

TITLES = {"held_out": "Held-out problems"}


def show_scores(data: Mapping[str, Any]) -> Iterator[Table | Text]:
    """The tables of `report.json`, and what is said of differences."""
    for asked in data["sets"]:
        yield _scores(asked)
        for comparison in asked["comparisons"]:
            yield Text(f"- {comparison['says']}")
        for other in asked["published"]:
            for difference in other["differences"]:
                yield Text(f"- {difference['says']}")
        if undecided := sum(model["undecided"] for model in asked["models"]):
            yield Text(f"- the verifier could not decide {undecided:,} samples, which count neither way")
        if asked["difficulty"]:
            yield _difficulty(asked)


def title(asked: Mapping[str, Any]) -> str:
    """What a set of problems is called."""
    return TITLES.get(asked["name"], str(asked["name"]))


def _scores(asked: Mapping[str, Any]) -> Table:
    n = asked["samples_per_problem"]
    table = _table(f"{title(asked)}: {asked['problems']:,}, {n} samples of each")
    for column in ("pass@1", "95 %", f"pass@{n}", f"cons@{n}", "tokens", "cut", "mixed", "format"):
        table.add_column(column, justify="right", no_wrap=True)
    for model in asked["models"]:
        one, at_n = model["pass@1"], model["pass@k"].get(str(n))
        table.add_row(
            Text(model["name"]),
            f"{one['value']:.3f}",
            f"{one['low']:.2f}-{one['high']:.2f}",
            f"{at_n['value']:.3f}" if at_n else "",
            f"{model['cons@k']['value']:.3f}",
            f"{model['tokens']['mean']:,.0f}",
            *(_share(model[name]) for name in ("truncated_share", "mixed_share", "formatted_share")),
        )
    for other in asked["published"]:
        figures = other["scores"]
        shown = [f"{figures[name]:.3f}" if name in figures else "" for name in (f"pass@{n}", f"cons@{n}")]
        table.add_row(Text(f"{other['name']} (published)"), f"{figures['pass@1']:.3f}", "", *shown)
    return table


def _difficulty(asked: Mapping[str, Any]) -> Table:
    by_level = asked["difficulty"][0]["name"].startswith("level")
    table = _table("pass@1 by level" if by_level else "pass@1 by how often the teacher solves a problem")
    for band in asked["difficulty"]:
        table.add_column(f"{band['name']}\n({band['problems']:,})", justify="right")
    for place, model in enumerate(asked["difficulty"][0]["models"]):
        ones = [band["models"][place]["pass@1"] for band in asked["difficulty"]]
        table.add_row(Text(model["name"]), *(f"{one['value']:.3f}" if one else "" for one in ones))
    return table


def _table(name: str) -> Table:
    table = Table(title=f"\n{name}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("model", overflow="fold")
    return table


def _share(rate: Mapping[str, float] | None) -> str:
    return "" if rate is None else f"{rate['value']:.0%}"
