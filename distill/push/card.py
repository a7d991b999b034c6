"""Our card and theirs: what distill generates is written anew, what people wrote into it stays where it was.

A card is a head of metadata and sections, each from a heading of level 1 or 2 to the next. A section whose heading no
push of ours wrote is a person's, and stays behind the section that it stood behind. Of the metadata, keys that we do
not write stay, and so do configs of names that we never use; tags are added up.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from distill.dataset.layout import CONFIGS

CARD = "README.md"
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


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def _split(card: str) -> tuple[str, str]:
    """The YAML between the first two lines of three dashes, and what is behind it."""
    found = re.match(r"---\r?\n(.*?)^---[ \t]*\r?\n?", card, re.DOTALL | re.MULTILINE)
    return (found[1], card[found.end() :].replace("\r\n", "\n")) if found else ("", card.replace("\r\n", "\n"))


def _metadata(ours: str, theirs: str) -> str:
    mine, other = yaml.safe_load(ours), _loaded(theirs)
    if not other:
        return ours
    tags = other.get("tags")
    added = [tag for tag in tags if isinstance(tag, str) and tag not in mine["tags"]] if isinstance(tags, list) else []
    whole = {**mine, "tags": mine["tags"] + added, **{key: other[key] for key in other if key not in mine}}
    if "configs" in mine:
        whole["configs"] = mine["configs"] + _own_configs(other.get("configs"))
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=10**9)


def _own_configs(configs: Any) -> list[dict[str, Any]]:
    """Configs that a person has added. The default one is ours."""
    named = [config for config in configs if isinstance(config, dict)] if isinstance(configs, list) else []
    own = [config for config in named if config.get("config_name") not in (None, *CONFIGS)]
    return [{key: value for key, value in config.items() if key != "default"} for config in own]


def _loaded(text: str) -> dict[str, Any]:
    """Metadata that somebody wrote; none where it is no mapping, or made to explode."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            return {}
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}
