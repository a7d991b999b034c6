"""Our card and theirs: what distill generates is written anew, what people wrote into it stays where it was.

A card is a head of metadata and sections, each from a heading of level 1 or 2 to the next. A section whose heading no
push of ours wrote is a person's, and stays behind the section that it stood behind. Of the metadata, keys that we do
not write stay, and so do configs of names that we never use; tags and tasks are added up. Aliases are written out.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from distill.dataset.layout import CONFIGS

CARD = "README.md"
ADDED_UP = ("tags", "task_categories")
"""Lists in which theirs stands behind ours; other keys of ours are facts of what is pushed."""
UNNAMED = "unnamed"
"""A config that a person gave no name, without which `datasets` would read none of the card's."""
MOST_NODES = 10_000
"""Values in metadata with its aliases written out. More are made to explode."""
_HEADING = re.compile(r"#{1,2} +(.+?)\s*#*\s*")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")

Sections = list[tuple[str, str]]
"""Headings and the texts from them on, themselves included; what stands before the first has an empty one."""


def merged(ours: str, theirs: str, generated: Mapping[str, str]) -> tuple[str, list[str]]:
    """Our card with what is theirs in it, and the headings of our sections that were edited there and are replaced.

    `generated` has the sections that the last push wrote, heading to digest; `digests` makes it.
    """
    if not theirs:
        return ours, []
    our_head, our_body = _split(ours)
    their_head, their_body = _split(theirs)
    result, there = sections(our_body), sections(their_body)
    known = {heading for heading, _ in result} | set(generated)
    edited = [heading for heading, text in there if heading in generated and generated[heading] != _digest(text)]
    anchor = ""
    for heading, text in there:
        if heading not in known:
            places = [place for place, (name, _) in enumerate(result) if name == anchor]
            place = places[-1] + 1 if places else len(result)
            result[place - 1] = (result[place - 1][0], _ended(result[place - 1][1]))
            result.insert(place, (heading, _ended(text)))
        if heading not in known or any(name == heading for name, _ in result):
            anchor = heading
    body = "".join(text if text.endswith("\n") else text + "\n" for _, text in result).rstrip("\n") + "\n"
    return f"---\n{_metadata(our_head, their_head)}---\n{body}", edited


def sections(body: str) -> Sections:
    """The parts of a card behind its metadata. Headings inside fenced code are code."""
    parts: Sections = [("", "")]
    fence = ""
    for line in body.splitlines(keepends=True):
        heading = None if fence else _HEADING.fullmatch(line.rstrip("\n"))
        fence = _fence_after(line, fence)
        if heading:
            parts.append((heading[1], ""))
        parts[-1] = (parts[-1][0], parts[-1][1] + line)
    return parts


def _fence_after(line: str, fence: str) -> str:
    """The fence of the code block that is open behind a line, given that before it; empty outside of code."""
    mark = _FENCE.match(line)
    if not mark or not fence:
        return mark[1] if mark else fence
    return "" if mark[1].startswith(fence) and not line.strip().strip(fence[0]) else fence


def _ended(text: str) -> str:
    """A section that another may stand behind: its code is closed, its last line is empty."""
    fence = ""
    for line in text.splitlines():
        fence = _fence_after(line, fence)
    if not text.strip("\n"):
        return text
    return text.rstrip("\n") + (f"\n{fence}" if fence else "") + "\n\n"


def digests(card: str) -> dict[str, str]:
    """The sections of a card that we generated, heading to digest of its text."""
    return {heading: _digest(text) for heading, text in sections(_split(card)[1])}


def head_of(card: str) -> str:
    """A card of the same metadata without anything behind it."""
    return f"---\n{_split(card)[0]}---\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def _split(card: str) -> tuple[str, str]:
    """The YAML between the first two lines of three dashes, and what is behind it."""
    found = re.match(r"[\s\ufeff]*---[ \t]*\r?\n(.*?)^---[ \t]*\r?\n?", card, re.DOTALL | re.MULTILINE)
    return (found[1], card[found.end() :].replace("\r\n", "\n")) if found else ("", card.replace("\r\n", "\n"))


class _Plain(str):
    """A number, date, truth value or null, as it was written: 1.10 is not to become 1.1."""


class _Loader(yaml.SafeLoader):
    pass


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag in ("null", "bool", "int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", lambda _, node: _Plain(node.value))


def _as_written(dumper: _Dumper, text: _Plain) -> yaml.Node:
    return yaml.ScalarNode(dumper.resolve(yaml.ScalarNode, str(text), (True, False)), str(text))  # type: ignore[no-untyped-call]


_Dumper.add_representer(_Plain, _as_written)


def _metadata(ours: str, theirs: str) -> str:
    mine, other = _loaded(ours), _loaded(theirs)
    if not other:
        return ours
    whole = {**mine, **{key: value for key, value in other.items() if key not in mine}}
    for key in mine.keys() & {*ADDED_UP}:
        added = [value for value in _listed(other.get(key)) if isinstance(value, str)]
        whole[key] = list(dict.fromkeys([*mine[key], *added]))
    if "configs" in mine:
        whole["configs"] = mine["configs"] + _own_configs(other.get("configs"))
    return yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _own_configs(configs: Any) -> list[dict[str, Any]]:
    """Configs that a person has added, each with a name. The default one is ours."""
    own: dict[str, dict[str, Any]] = {}
    for config in _listed(configs):
        if not isinstance(config, dict) or config.get("config_name") in CONFIGS:
            continue
        rest = {key: value for key, value in config.items() if key not in ("config_name", "default")}
        name = config.get("config_name")
        if not isinstance(name, str) or name in ("", "~", "null"):
            taken = {entry.get("config_name") for entry in _listed(configs) if isinstance(entry, dict)} | own.keys()
            free = (UNNAMED + (f"_{number}" if number > 1 else "") for number in range(1, len(taken) + 2))
            name = next(name for name in free if name not in taken)
        own[name] = {"config_name": name, **rest}
    return list(own.values())


def _loaded(text: str) -> dict[Any, Any]:
    """Metadata that somebody wrote; none where it is no mapping, or made to explode."""
    try:
        root = yaml.compose(text, _Loader)
        if root is None or _size(root, {}) > MOST_NODES:
            return {}
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Values in a node with its aliases written out; without end for one that holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        pairs = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
