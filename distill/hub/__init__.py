"""Tables in: a local file or a Hub dataset as Polars rows, and rows of ours as a `datasets.Dataset`.

The one home of `datasets` and, with `repo.py`, which writes to repositories, of `huggingface_hub`: imported only when
used. Local files need no network. Does not know which columns a stage wants.
"""

import contextlib
import difflib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from distill.hub.repo import HubError, transport_error
from distill.recipe.problems import Table
from distill.table_file import TableError, clean_columns, read_file

if TYPE_CHECKING:
    import datasets

IN_MEMORY_BYTES = 2 << 30
"""Rows that decode to more than this are memory-mapped from the cache of `datasets` instead of being held."""

HUB_TIMEOUT_S = 10.0


def read_table(table: Table, what: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows that a recipe names, under our column names, and where they came from.

    `what` names the recipe's section in errors. The provenance holds the file's name and SHA-256, or the dataset's id,
    config, split and resolved commit; never a local path. `cleaned_values` counts texts in which characters that JSON
    and Arrow cannot carry were replaced. Raises TableError or HubError.
    """
    if table.path is not None:
        rows, provenance = read_file(Path(table.path), table.limit, f"{what}.path")
    elif table.dataset is not None:
        rows, provenance = _read_hub(table, f"{what}.dataset")
    else:
        raise TableError(f"{what}: neither a path nor a dataset is given")
    rows = _rename(rows, table.columns, f"{what}.columns")
    return rows, {**provenance, "rows": rows.height}


def benchmark(dataset: str, config: str | None, split: str, revision: str | None) -> tuple[pl.DataFrame, str]:
    """The rows of a benchmark on the Hub, for `decontaminate`, and the commit they are of. Raises HubError."""
    table = Table(dataset=dataset, config=config, split=split, revision=revision)
    rows, provenance = _read_hub(table, "decontaminate.benchmarks")
    return rows, provenance["commit"]


def load_rows(folder: Path, config: str) -> "datasets.Dataset":
    """The train split of one config of a dataset folder that we wrote, for a trainer."""
    import datasets
    import pyarrow.parquet as pq

    files = sorted((folder / config).glob("train-*.parquet"))
    if not files:
        raise TableError(f"no train-*.parquet in {folder / config}; write it with `distill dataset`")
    footers = [pq.read_metadata(file) for file in files]
    size = sum(footer.row_group(group).total_byte_size for footer in footers for group in range(footer.num_row_groups))
    with _quiet():
        if size > IN_MEMORY_BYTES:
            return datasets.Dataset.from_parquet([str(file) for file in files])
        # Passing the table itself writes no cache, and names no file that a fingerprint could depend on.
        return datasets.Dataset(pq.read_table(files))


def dataset_from_rows(rows: list[dict[str, Any]] | pl.DataFrame) -> "datasets.Dataset":
    """Rows in memory as a `datasets.Dataset`; nothing is written."""
    import datasets

    table = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    return datasets.Dataset(table.to_arrow())


# --- columns ----------------------------------------------------------------------------------------------------------


def _rename(rows: pl.DataFrame, columns: dict[str, str], where: str) -> pl.DataFrame:
    missing = [
        f"{where}.{ours}: no column {theirs!r}{_nearest(theirs, rows.columns)}"
        for ours, theirs in columns.items()
        if theirs not in rows.columns
    ]
    if missing:
        raise TableError("\n".join([*missing, f"columns found: {', '.join(rows.columns) or 'none'}"]))
    others = pl.exclude(*columns, *columns.values()) if columns else pl.all()
    return rows.select(*(pl.col(theirs).alias(ours) for ours, theirs in columns.items()), others)


def _nearest(name: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


# --- the Hub ----------------------------------------------------------------------------------------------------------


def _read_hub(table: Table, where: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    from datasets.exceptions import DatasetsError

    assert table.dataset is not None
    if Path(table.dataset).is_dir():  # `datasets` would prefer it to the Hub, whatever the revision
        raise HubError(f"{where}: there is a local folder {table.dataset!r}, which hides the Hub's; run elsewhere.")
    commit = _resolve(table.dataset, table.revision, where)
    try:
        with _quiet():
            rows = _load_hub(table, commit)
    except (DatasetsError, ValueError, OSError, RuntimeError, transport_error()) as error:
        raise HubError(f"{where}: cannot load {table.dataset} at {commit}: {_refusal(error)}") from error
    rows, cleaned = clean_columns(rows)
    provenance = {"dataset": table.dataset, "config": table.config, "split": table.split, "commit": commit}
    return rows, {**provenance, "cleaned_values": cleaned}


def _resolve(dataset: str, revision: str | None, where: str) -> str:
    """The commit that a revision means now. In offline mode a full commit is taken at its word: it may be cached."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    # Where the Hub is out of reach for another reason, `datasets` would try for more than a minute before it looks
    # into its cache; so that has to be asked for.
    if huggingface_hub.constants.HF_HUB_OFFLINE and revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        info = huggingface_hub.HfApi().dataset_info(dataset, revision=revision, timeout=HUB_TIMEOUT_S)
    except HFValidationError as error:
        raise HubError(f"{where}: expected a Hub dataset id, such as openai/gsm8k: {_first_line(error)}") from error
    except HfHubHTTPError as error:
        name = f"{dataset!r} at {revision or 'main'}"
        raise HubError(f"{where}: the Hub does not give {name}: {_refusal(error)}") from error
    except (OfflineModeIsEnabled, OSError, transport_error()) as error:
        raise HubError(
            f"{where}: the Hub cannot be reached to read {dataset!r} ({_first_line(error)}). Connect, or download the "
            "file and name that; or, if the dataset is cached, name its full commit as the revision and set "
            "HF_HUB_OFFLINE=1."
        ) from error
    assert info.sha is not None
    return info.sha


def _refusal(error: Exception) -> str:
    """What the Hub's answer means, and what to do about it."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, DatasetNotFoundError):  # it exists, or it would have no commit: it is gated
        return f"{error} Log in with `hf auth login` or HF_TOKEN, as somebody who has access."
    if isinstance(error, RevisionNotFoundError):
        return "it has no such revision; name a branch, a tag or a commit of it."
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such dataset, or it is private; check the id, or log in with `hf auth login` or HF_TOKEN."
    return textwrap.shorten(str(error), 300, placeholder="…") or type(error).__name__


def _load_hub(table: Table, commit: str) -> pl.DataFrame:
    import datasets

    builder = datasets.load_dataset_builder(table.dataset, table.config, revision=commit)
    if builder.hash != commit:  # without the Hub, `datasets` takes what it read last, whatever the revision
        raise HubError(f"its cache answers for another commit, {builder.hash}; connect, or name that one.")
    if table.limit is None:
        builder.download_and_prepare()
        return pl.DataFrame(pl.from_arrow(builder.as_dataset(split=table.split).data.table))
    # A stream fetches only what the first rows need, where a slice of a split would download all of it.
    stream = builder.as_streaming_dataset(split=table.split)
    parts = [pl.from_arrow(part) for part in stream.take(table.limit).with_format("arrow").iter(batch_size=1000)]
    return pl.concat([pl.DataFrame(part) for part in parts], how="vertical_relaxed")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of `datasets` and `huggingface_hub` inside; their settings are as before afterwards."""
    import datasets
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars = datasets.is_progress_bar_enabled(), not are_progress_bars_disabled()
    datasets.disable_progress_bars()
    disable_progress_bars()
    try:
        yield
    finally:
        if bars[0]:
            datasets.enable_progress_bars()
        if bars[1]:
            enable_progress_bars()
