"""Tables come in as they are, with their origin, or with an error that says where to look."""

import hashlib
import json
import time

import polars as pl
import pytest

from distill import hub
from distill.hub import HubError, TableError, load_rows, read_table
from distill.recipe.problems import Table

ROWS = [{"question": "1 + 1?", "gold": 2, "id": "a"}, {"question": "2 + 2?", "gold": "4", "id": "b"}]


def jsonl(folder, rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path, **settings):
    return read_table(Table(path=str(path), **settings), "problems")


def test_jsonl_comes_in_under_our_names(tmp_path):
    path = jsonl(tmp_path, ROWS)
    table, provenance = read(path, columns={"problem": "question", "reference_answer": "gold"})
    assert table.columns == ["problem", "reference_answer", "id"]
    assert table["reference_answer"].to_list() == ["2", "4"], "numbers beside texts become texts"
    assert provenance == {
        "file": "rows.jsonl",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "cleaned_values": 0,
        "rows": 2,
    }
    assert str(tmp_path) not in json.dumps(provenance)


def test_one_of_their_columns_can_serve_twice_and_ours_wins(tmp_path):
    path = jsonl(tmp_path, [{"id": "a", "problem": "old", "question": "new", "extra": 1}])
    table, _ = read(path, columns={"problem": "question", "problem_id": "id", "source": "id"})
    assert table.to_dicts() == [{"problem": "new", "problem_id": "a", "source": "a", "extra": 1}]


def test_parquet_and_jsonl_are_the_same_table(tmp_path):
    rows = [{**row, "gold": str(row["gold"])} for row in ROWS]
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet")[0].equals(read(jsonl(tmp_path, rows))[0])


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_limit_takes_the_first_rows_and_reads_no_further(tmp_path, limit):
    path = jsonl(tmp_path, [*ROWS])
    if limit < 2:
        path.write_text(path.read_text() + "not JSON\n")
    assert read(path, limit=limit)[0].height == min(limit, 2)


def test_text_that_arrow_cannot_carry_is_replaced_and_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"a": "x\\ud800y", "b": ["\\u0000"], "c": {"d\\u0000": "ok"}}\n{"a": "fine", "b": [], "c": null}\n'
    )
    table, provenance = read(path)
    assert table.row(0, named=True) == {"a": "x\ufffdy", "b": ["\ufffd"], "c": {"d\ufffd": "ok"}}
    assert provenance["cleaned_values"] == 3
    pl.DataFrame({"a": ["x\x00y", "z"], "n": [1, 2]}).write_parquet(tmp_path / "rows.parquet")
    table, provenance = read(tmp_path / "rows.parquet")
    assert table["a"].to_list() == ["x\ufffdy", "z"]
    assert provenance["cleaned_values"] == 1


def test_blank_lines_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}')
    assert read(path)[0]["a"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": 2', r"rows\.jsonl:2: expected one JSON object a line, found '\{\"a\": 2'"),
        (b'{"a": 1}\n\n[1]\n', r"rows\.jsonl:3: expected a JSON object"),
        (b'{"a": 1}\n{"a": "\xff"}\n', r"rows\.jsonl:2: .*utf-8"),
        (b"[" * 100_000 + b"\n", r"rows\.jsonl:1: .*…"),
        (b'{"a": {"b": 1}}\n{"a": "text"}\n', r"rows\.jsonl: expected values of one kind in each column"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read(tmp_path / "rows.jsonl")


def test_a_missing_column_is_named_with_its_nearest(tmp_path):
    columns = {"problem": "qestion", "reference_answer": "zzz"}
    with pytest.raises(TableError) as error:
        read(jsonl(tmp_path, ROWS), columns=columns)
    assert "problems.columns.problem: no column 'qestion'; did you mean 'question'?" in str(error.value)
    assert "problems.columns.reference_answer: no column 'zzz'" in str(error.value)
    assert "columns found: question, gold, id" in str(error.value)


def test_missing_unknown_and_broken_files(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "rows.parquet").write_text("not Parquet")
    with pytest.raises(TableError, match=r"problems\.path: no file at .*none\.jsonl"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(TableError, match=r"expected a \.jsonl or \.parquet file, found rows\.csv"):
        read(tmp_path / "rows.csv")
    with pytest.raises(TableError, match=r"rows\.parquet: not a readable Parquet file"):
        read(tmp_path / "rows.parquet")


def test_an_empty_file_is_an_empty_table(tmp_path):
    (tmp_path / "rows.jsonl").write_text("")
    assert read(tmp_path / "rows.jsonl")[0].is_empty()


# --- datasets ---------------------------------------------------------------------------------------------------------

MESSAGES = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "id": "x"}]


@pytest.mark.parametrize("in_memory_bytes", [0, 1 << 30])
def test_rows_of_a_folder_load_for_a_trainer(tmp_path, monkeypatch, capfd, in_memory_bytes):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(hub, "IN_MEMORY_BYTES", in_memory_bytes)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "default").mkdir()
    for shard in range(2):
        pl.DataFrame(MESSAGES).write_parquet(tmp_path / "default" / f"train-0000{shard}-of-00002.parquet")
    bars = datasets.is_progress_bar_enabled()
    rows = load_rows(tmp_path, "default")
    assert datasets.is_progress_bar_enabled() == bars
    assert list(rows) == MESSAGES * 2
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "cache").exists() == (in_memory_bytes == 0), "what fits into memory is cached nowhere"


def test_a_folder_without_the_config_says_so(tmp_path):
    with pytest.raises(TableError, match="no train-"):
        load_rows(tmp_path, "default")


@pytest.mark.parametrize("rows", [MESSAGES, pl.DataFrame(MESSAGES)])
def test_rows_in_memory(rows):
    pytest.importorskip("datasets")
    assert list(hub.dataset_from_rows(rows)) == MESSAGES


# --- the Hub ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub").constants
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("dataset", "revision", "message"),
    [
        (
            "openai/gsm8k",
            None,
            r"problems\.dataset: the Hub cannot be reached to read 'openai/gsm8k'.*download the file",
        ),
        ("not a/valid id", None, r"problems\.dataset: expected a Hub dataset id"),
    ],
)
def test_without_a_network_the_error_is_quick_and_clear(no_network, dataset, revision, message):
    began = time.monotonic()
    with pytest.raises(HubError, match=message):
        read_table(Table(dataset=dataset, revision=revision), "problems")
    assert time.monotonic() - began < 8


def test_offline_mode_is_named(monkeypatch, no_network):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="cannot be reached"):
        read_table(Table(dataset="openai/gsm8k"), "problems")
