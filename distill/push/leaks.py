"""What must not leave this machine: secrets, paths and host names, looked for in everything that is pushed.

Patterns are of tokens with a mark of their own, since reasoning is full of long words without one: no guess by entropy.
A token without a mark is found only if this process has it in its environment.
"""

import os
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from distill.hub.repo import File

SECRETS = {
    # Prefixes as the issuers document them, or as gitleaks' rules have them (github.com/gitleaks/gitleaks, config/).
    "hugging_face_token": r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "api_key": r"\bsk-[A-Za-z0-9_-]{32,}",  # OpenAI, Anthropic and many who followed
    "aws_key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "github_token": r"\bgh[oprsu]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{80,}",
    "gitlab_token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "google_key": r"\bAIza[A-Za-z0-9_-]{35}",
    "slack_token": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "stripe_key": r"\b[rs]k_live_[A-Za-z0-9]{20,}",
    "package_registry_token": r"\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE[A-Za-z0-9_-]{50,}",
    "json_web_token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "private_key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "password_in_url": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@<>{}]+:[^\s/:@<>{}]{3,}@[A-Za-z0-9]",
}
_MEDIA = "png|jpe?g|gif|webp|bmp|tiff?|svg|wav|mp3|flac|mp4|pdf|parquet|jsonl|safetensors|gguf|pt|bin"
_BEGINS = r"(?:^|[^A-Za-z0-9_/.-]|\\[nrt])"  # no part of an address, nor of a longer path; a line break may be JSON's
_REST = r"[^\s\"'`<>|]*"
PLACES = {
    "local_path": rf"{_BEGINS}(?:/home|/Users|/root)/+[^\s\"'`<>|/]{_REST}"
    rf"|\b[A-Za-z]:\\+Users\\+{_REST}|\bfile://{_REST}"
    rf"|(?:^|[\s\"'`(=\[,:])/(?:[A-Za-z0-9_.@+-]+/)+[A-Za-z0-9_.@+-]+\.(?:{_MEDIA})\b",
    "host_name": r"\bhttps?://(?:10\.[0-9]+|192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))\.[0-9]+\.[0-9]+"
    r"|\bhttps?://[A-Za-z0-9_.-]+\.(?:local|lan|internal|intranet|corp|home\.arpa)\b",
}
STUDENT = r"^(?:(?:[~/]|\.{1,2}/).*/|\S*/)?(?P<run>[\w.-]+)/student/(?P<arm>[^\s@]+)(?=@\S*$|$)"
"""The folder of a run's student, wherever runs are, and perhaps its @revision."""
SECRET_NAME = re.compile(r"(?:TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
SHORTEST_SECRET = 12
"""Characters of an environment variable's value that is looked for."""
SHOWN = 20
RUST_EDGE = r"(?-u:\b)"
"""With Unicode's, the search is 18 times as slow where texts are not ASCII (tests/bench/bench_leaks.py)."""
BATCH_ROWS = 4096
VOCABULARIES = ("tokenizer.json", "vocab.", "merges.txt")
TEXT_BYTES = 64 << 20
"""A text file that is larger than this is no card, recipe or table of numbers."""


class LeakError(RuntimeError):
    """Something that is pushed holds what must not leave. Says where and of what kind, and never what it is."""


@dataclass(frozen=True)
class Leak:
    """A place in what would be pushed."""

    file: str
    place: str
    """Line, or row and column."""
    kind: str
    in_rows: bool
    """Or in a tokenizer's vocabulary: where others wrote what distill only passes on."""


def check(files: Mapping[str, File], allowed: Collection[str] = ()) -> None:
    """LeakError if a file holds a secret, a local path or a host name.

    `allowed` kinds may stand in rows, where a person has looked: a problem may well be about /home/alice. They may not
    stand in what distill writes, nor in cards.
    """
    there_are = {*SECRETS, *PLACES, "environment_secret"}
    if unknown := sorted({*allowed} - there_are):
        raise LeakError(f"--allow {unknown[0]}: there is no such kind; there are {', '.join(sorted(there_are))}")
    found = [
        leak
        for path, file in files.items()
        for leak in leaks(path, file)
        if not (leak.in_rows and leak.kind in allowed)
    ]
    if not found:
        return
    shown = "\n".join(f"  {leak.file}, {leak.place}: {leak.kind}" for leak in found[:SHOWN])
    more = f"\n  and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    cure = "Nothing was sent. A secret that was in a file should be replaced by a new one wherever it is used."
    if any(leak.in_rows for leak in found):
        cure += " For rows: filter them out, or, if you have looked and they may go, --allow KIND."
    if any(not leak.in_rows and leak.kind in PLACES for leak in found):
        cure += " For files of the run: name data relative to the folder you run in; --no-report leaves the report out."
    raise LeakError(f"what would be pushed holds what must not leave this machine:\n{shown}{more}\n{cure}")


def leaks(path: str, file: File) -> Iterator[Leak]:
    """All places in a file, by its path in the repository."""
    if path.endswith(".parquet"):
        assert isinstance(file.content, Path)
        yield from _in_rows(path, file.content)
        return
    text = re.sub(
        r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), _text(path, file)
    )  # JSON may have them
    of_others = path.startswith(VOCABULARIES)
    if not re.search(_any(), text, re.MULTILINE):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for kind in kinds(line):
            yield Leak(path, f"line {number}", kind, in_rows=of_others)


def kinds(text: str) -> list[str]:
    """Of what is in a text."""
    return [kind for kind, pattern in _patterns().items() if re.search(pattern, text, re.MULTILINE)]


def wash(text: str) -> str:
    """A text that distill writes, with local paths as their last names and without names of hosts. Secrets stay."""
    text = re.sub(r"^(?:~|/)\S*/(?=\S)", "", student_named(text))
    for kind in PLACES:
        for match in reversed(list(re.finditer(_patterns()[kind], text))):
            before = re.match(r"\\[nrt](?=/)|[^\w/\\]?", match[0])
            last = re.split(r"[/\\]", match[0])[-1]
            shorter = f"{before[0] if before else ''}{last}" if kind == "local_path" else "http://host"
            text = text[: match.start()] + shorter + text[match.end() :]
    return text


def student_named(text: str) -> str:
    """The folder of a run's student as RUN:ARM, which is how `distill compare` names it; any other text as it is."""
    return re.sub(STUDENT, r"\g<run>:\g<arm>", text)


def washed(value: Any) -> Any:
    """Plain data whose texts name no place on this machine."""
    if isinstance(value, Mapping):
        return {wash(str(key)): washed(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [washed(part) for part in value]
    return wash(value) if isinstance(value, str) else value


def _text(path: str, file: File) -> str:
    """What is text in a file; of weights, their header, which is JSON behind a length of eight bytes."""
    if file.size > TEXT_BYTES and not path.endswith(".safetensors"):
        raise LeakError(f"{path} has {file.size:,} bytes, too many to look through; it is not what a run publishes")
    if isinstance(file.content, bytes):
        return file.content.decode("utf-8", "replace")
    with open(file.content, "rb") as stream:
        if path.endswith(".safetensors"):
            return stream.read(min(int.from_bytes(stream.read(8), "little"), TEXT_BYTES)).decode("utf-8", "replace")
        return stream.read().decode("utf-8", "replace")


def _in_rows(path: str, file: Path) -> Iterator[Leak]:
    import pyarrow.parquet as pq

    first, anything = 0, f"(?m){_any(RUST_EDGE)}"
    for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
        table = pl.DataFrame(pl.from_arrow(batch)).with_row_index("row", offset=first)
        first += batch.num_rows
        for column in table.columns[1:]:
            for name, texts in _leaves(table.select("row", value=column), column):
                for row, text in texts.filter(pl.col("value").str.contains(anything)).iter_rows():
                    for kind in kinds(text):
                        yield Leak(path, f"row {row}, column {name}", kind, in_rows=True)


def _leaves(values: pl.DataFrame, name: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """The texts in a column, however nested, as columns row and value."""
    dtype = values.schema["value"]
    if isinstance(dtype, pl.List):
        yield from _leaves(values.explode("value"), name)
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            part = values.select("row", value=pl.col("value").struct.field(field.name))
            yield from _leaves(part, f"{name}.{field.name}")
    elif dtype == pl.String:
        yield name, values


def _patterns(edge: str = r"(?a:\b)") -> dict[str, str]:
    """Kind to pattern. `edge` is how a boundary of ASCII words is written: in Python, or as `RUST_EDGE` in Rust."""
    values = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
    here = {str(Path.home()), str(Path.cwd())} - {"/", "/root"}
    host = socket.gethostname()
    known = {"local_path": here, "host_name": {host} if re.search(r"[\d.-]", host) and len(host) > 3 else set()}
    own = {"environment_secret": "|".join(map(re.escape, sorted(values)))} if values else {}
    plain = {kind: pattern.replace(r"\b", edge) for kind, pattern in (SECRETS | PLACES).items()}
    return plain | own | {kind: "|".join([plain[kind], *map(re.escape, sorted(known[kind]))]) for kind in PLACES}


def _any(*edge: str) -> str:
    return "|".join(f"(?:{pattern})" for pattern in _patterns(*edge).values())
