"""The dataset card: metadata that the Hub accepts, and a page generated from what the run recorded.

Text from data is escaped, so it cannot end a table, start a link or change the metadata. Does not guess: what the run
did not record is left out.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from distill.dataset.layout import LOCAL_FOLDER
from distill.dataset.stats import Stats
from distill.push.leaks import student_named, wash, washed
from distill.recipe import Recipe

SHOWN_APART = re.compile(r"(?:command|repository|agreement|audit|trajectories\.teacher\.(?!args))\b")
"""Facts that have a place of their own on the card, by their dotted names."""
LONGEST_CELL = 300
"""Characters of a text from data that a table shows."""
LEAST_ROOM = 32_768
"""Tokens that a trainer is told to have room for, if the rows are not longer."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# Everything but plain signs, and of those what could be emphasis (_) or a link (@, :, www.) where it stands.
_MARKUP = re.compile(r"[^\w ,;.'\"/%()=+?@:-]|(?<![^\W_])_|_(?![^\W_])|@(?=\S)|:(?=\S)|(?<=www)\.", re.ASCII | re.I)


def render(recipe: Recipe, *, name: str, stats: Stats, facts: Mapping[str, Any]) -> str:
    """The whole README.md of a dataset folder.

    `facts` as for `write_dataset`; `recipe` must have a dataset section.
    """
    assert recipe.dataset is not None
    sampling = recipe.trajectories
    return fill(
        "dataset.md.j2",
        metadata(recipe, name, stats),
        title=recipe.dataset.title or name,
        name=name,
        dataset=recipe.dataset,
        engine=_engine(facts),
        agreement=facts.get("agreement"),
        audits=facts.get("audit") or [],
        stats=stats,
        sampling=None if sampling.import_ else sampling,
        chain=yaml.safe_dump(washed([judge.entry() for judge in recipe.verdicts]), sort_keys=False, allow_unicode=True),
        verifier=next(
            (step for step in stats["funnel"] if recipe.verifier and step["filter"] == recipe.verifier.name()), None
        ),
        histogram=histogram(stats),
        room=room(stats),
        where=facts.get("repository") or f"path/to/{name}",
        on_hub=bool(facts.get("repository")),
        command=facts.get("command"),
        provenance=[(name, value) for name, value in flatten(facts) if not SHOWN_APART.match(name)],
    )


def fill(template: str, head: Mapping[str, Any], **values: Any) -> str:
    """A card: its metadata, and the page that a template of `data_cards/` makes of the values."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_template_folder()),
        autoescape=False,  # Markdown, not HTML: the filters below escape, and a test feeds them hostile text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "md": markdown,
        "code": code_block,
        "count": "{:,}".format,
        "percent": "{:.1%}".format,
    }
    metadata = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=10**9)
    return environment.get_template(template).render(metadata=metadata, **values)


def _engine(facts: Mapping[str, Any]) -> dict[str, str]:
    """By what the rows were sampled."""
    teacher = (facts.get("trajectories") or {}).get("teacher") or {}
    shown = {
        "teacher's revision": teacher.get("revision"),
        "chat template": teacher.get("template_digest"),
        "engine": " ".join(filter(None, (teacher.get("engine"), teacher.get("engine_version")))),
        "seeds": teacher.get("seeding"),
    }
    return {name: _public(value) for name, value in shown.items() if value}


def metadata(recipe: Recipe, name: str, stats: Stats) -> dict[str, Any]:
    """The YAML head of the card, as the Hub documents it."""
    assert recipe.dataset is not None
    return {
        # A line break and three dashes inside a quoted YAML string would end the metadata for most readers.
        "pretty_name": one_line(recipe.dataset.title or name),
        "license": one_line(recipe.dataset.license),
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", "chain-of-thought", "distillation", "distill"],
        "size_categories": [size_category(stats["rows"])],
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == "default" else {}),
                "data_files": [{"split": "train", "path": f"{config}/train-*"}],
            }
            for config in stats["columns"]
        ],
    }


def size_category(rows: int) -> str:
    """The Hub's bucket for a number of rows; lower bounds belong to the bucket above them."""
    bounds = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    above = sum(rows >= 10**power for power in range(3, 13))
    if above == 0:
        return "n<1K"
    return "n>1T" if above == len(bounds) else f"{bounds[above - 1]}<n<{bounds[above]}"


def public_names(names: pl.Series) -> pl.Series:
    """Models as those may know them who have not the folders: RUN:ARM or a path's last part, each with @revision."""
    found = names.drop_nulls().unique()
    return names.replace_strict(found, [_public(name) for name in found], return_dtype=pl.String)


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return _CONTROL.sub(" ", text)


def markdown(text: object, longest: int = LONGEST_CELL) -> str:
    """Text that shows as itself on one line of Markdown: no markup, link, HTML or table cell can come out of it."""
    line = one_line(str(text)).strip()
    if len(line) > longest:
        line = line[:longest] + "…"
    return _MARKUP.sub(lambda match: match[0] if match[0].isalnum() else f"&#{ord(match[0])};", line)


def code_block(text: object, language: str = "") -> str:
    """A fenced block that the text cannot end."""
    clean = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", str(text))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", clean)), default=0))
    return f"{fence}{language}\n{clean}\n{fence}"


def histogram(stats: Stats) -> str:
    """Token lengths of the kept rows as bars of text; empty where lengths are unknown."""
    bins = stats["tokens"]["histogram"] if stats["tokens"] else []
    labels = [f"{step['low']:,}–{step['high'] - 1:,}" for step in bins]
    most = max((step["rows"] for step in bins), default=0)
    width = max(map(len, labels), default=0)
    return "\n".join(
        f"{label:>{width}}  {'█' * round(30 * step['rows'] / most):<30}  {step['rows']:,}"
        for label, step in zip(labels, bins, strict=True)
    )


def room(stats: Stats) -> int:
    """Tokens in which a trainer should have room for any row: a power of two, with a quarter for what is not counted.

    That is the prompt, and that the student's tokenizer may cut finer than the teacher's.
    """
    longest = stats["tokens"]["max"] * 5 // 4 if stats["tokens"] else 0
    return max(LEAST_ROOM, 1 << (longest - 1).bit_length())


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as (dotted name, text) pairs, without nulls and empty lists, and without the folders of paths."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            pairs += [(f"{prefix}{key}", ", ".join(map(_public, value)))] if value else []
        elif value is not None:
            pairs.append((f"{prefix}{key}", _public(value)))
    return pairs


def _public(value: object) -> str:
    return wash(re.sub(LOCAL_FOLDER, "", student_named(str(value))))


def _template_folder() -> Path:
    """`data_cards/`: at the root of a checkout, inside the package where it is installed."""
    package = Path(__file__).parents[1]
    for folder in (package / "data_cards", package.parent / "data_cards"):
        if (folder / "dataset.md.j2").is_file():
            return folder
    raise FileNotFoundError(f"no dataset.md.j2 in {package / 'data_cards'}; the installation is incomplete: repeat it")
