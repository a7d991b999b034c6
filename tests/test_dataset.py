"""A dataset folder loads where people load it, says what was done, and cannot be talked into saying anything else."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from distill import chat, store
from distill.dataset import DatasetError, card, layout, make, parquet, write_dataset
from distill.dataset.stats import statistics, token_lengths
from distill.progress import Silent
from distill.recipe import Recipe
from distill.schema import TRAJECTORY
from distill.store import Run
from filters import VERDICT, kept

INSTRUCTION = "Put the answer in \\boxed{}."
HOSTILE = "x | y\n---\n\n# <script>alert(1)</script> [click](http://evil.example) ![](http://evil.example/p.png) `a`"
CONFIGS = ("default", "prompt_completion", "rollouts")
DATASET = {"license": "apache-2.0", "title": "Steps"}
FACTS = {
    "command": "distill run recipes/steps.yaml",
    "engine": {"name": "vllm", "version": "0.32.0", "model": "/home/someone/models/teacher"},
    "server": {"address": "at http://10.0.0.7:8000/v1"},
    "agreement": {"labelled": 7, "abstained": 1, "agreed": 5, "share": 5 / 6},
}


def recipe(**dataset) -> Recipe:
    return Recipe.model_validate(
        {
            "problems": {"arithmetic": {"count": 5}},
            "trajectories": {"teacher": "org/teacher", "samples_per_problem": 2, "instruction": INSTRUCTION},
            "verdicts": ["verify_math", "length"],
            "dataset": DATASET | dataset,
        }
    )


def verdict(outcome: str | None, reason: str | None = None, evidence: str | None = None) -> dict | None:
    return outcome and {"outcome": outcome, "reason": reason, "score": None, "evidence": evidence}


def judged(problems: int = 5, **columns) -> pl.DataFrame:
    """Two samples a problem: the first is kept, the second alternately wrong, undecided and too long."""
    rows, math, length = [], [], []
    fates = [
        (verdict("reject", "wrong", "41"), None),
        (verdict("abstain", "time_out"), None),
        (verdict("keep"), verdict("reject", "too_long")),
    ]
    for problem in range(problems):
        for sample in range(2):
            rows.append(
                {
                    "problem_id": f"p{problem:04d}",
                    "problem": f"What is {problem} + 1?",
                    "reference_answer": str(problem + 1),
                    "domain": "math",
                    "source": "generated",
                    "sample": sample,
                    "samples_drawn": 2,
                    "teacher": "/home/someone/models/teacher @ abc123",
                    "reasoning": f"{problem} plus 1." if sample == 0 or problem % 2 else None,
                    "response": f"So \\boxed{{{problem + 1}}}.",
                    "finish_reason": "stop",
                    "prompt_tokens": 10,
                    "completion_tokens": 20 + problem,
                }
            )
            fate = (verdict("keep"), verdict("keep")) if sample == 0 else fates[problem % 3]
            math.append(fate[0])
            length.append(fate[1])
    table = pl.DataFrame(rows, schema=TRAJECTORY).with_columns(
        pl.Series("verdict_verify_math", math, dtype=VERDICT), pl.Series("verdict_length", length, dtype=VERDICT)
    )
    return table.with_columns(**{name: pl.lit(value) for name, value in columns.items()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "dataset"
    write_dataset(judged(), recipe=recipe(), name="steps", folder=folder, facts=FACTS)
    return folder


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_loads_with_datasets(folder, config, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(folder), config, split="train", cache_dir=str(tmp_path))
    assert len(rows) == 5
    strings = {"large_string", "large_list"}
    assert not strings & set(str(rows.features.arrow_schema).replace("<", " ").replace(":", " ").split())


def test_what_was_not_kept_is_written_where_it_is_asked_for(folder, tmp_path):
    assert not (folder / "rejected").exists()
    stats = write_dataset(judged(), recipe=recipe(rejected=True), name="steps", folder=tmp_path / "d", facts=FACTS)
    assert list(stats["columns"]) == [*CONFIGS, "rejected"]
    rows = pl.read_parquet(tmp_path / "d" / "rejected" / "*.parquet")
    assert rows.columns == [*stats["columns"]["default"], *layout.VERDICT_COLUMNS]
    assert rows["id"].to_list() == [f"p{problem:04d}-1" for problem in range(5)]
    assert rows.head(3).select("verdict_outcome", "verdict_filter", "verdict_reason", "verdict_evidence").rows() == [
        ("reject", "verify_math", "wrong", "41"),
        ("abstain", "verify_math", "time_out", None),
        ("reject", "length", "too_long", None),
    ]
    whole = judged().filter(pl.col("sample") == 0)
    stats = write_dataset(whole, recipe=recipe(rejected=True), name="steps", folder=tmp_path / "d", facts=FACTS)
    assert list(stats["columns"]) == list(CONFIGS), "a config without rows would not load"


def test_rows_of_default(folder):
    rows = pl.read_parquet(folder / "default" / "*.parquet")
    columns = ["messages", "id", "problem", "answer", "source", "domain", "num_tokens", "teacher"]
    assert rows.columns == columns
    assert rows.row(0, named=True) == {
        "messages": [
            {"role": "user", "content": f"What is 0 + 1?\n\n{INSTRUCTION}"},
            {"role": "assistant", "content": "<think>\n0 plus 1.\n</think>\n\nSo \\boxed{1}."},
        ],
        "id": "p0000-0",
        "problem": "What is 0 + 1?",
        "answer": "1",
        "source": "generated",
        "domain": "math",
        "num_tokens": 20,
        "teacher": "teacher @ abc123",
    }


def test_trainers_detect_conversations(folder):
    data_utils = pytest.importorskip("trl.data_utils")
    for config, key in (("default", {"messages"}), ("prompt_completion", {"prompt", "completion"})):
        row = pl.read_parquet(folder / config / "*.parquet").row(0, named=True)
        assert data_utils.is_conversational(row)
        guessed_from = {"prompt", "completion", "messages", "text", "labels", "input_ids", "tools", "conversations"}
        assert set(row) & guessed_from == key
    row = pl.read_parquet(folder / "prompt_completion" / "*.parquet").row(0, named=True)
    messages = pl.read_parquet(folder / "default" / "*.parquet")["messages"].to_list()[0]
    assert row["prompt"] + row["completion"] == messages


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_columns_say_what_chat_says(instruction):
    table = judged()
    content = layout.default(table, {None: instruction})["messages"].to_list()
    for row, messages in zip(table.iter_rows(named=True), content, strict=True):
        answer = chat.join_completion(row["reasoning"], row["response"])
        assert messages == [chat.user_message(row["problem"], instruction), {"role": "assistant", "content": answer}]


def test_rollouts_hold_every_sample_and_its_fate(folder):
    rows = pl.read_parquet(folder / "rollouts" / "*.parquet")
    first, second, third = rows.head(3).iter_rows(named=True)
    assert first["uuid"] == "p0000"
    assert first["generations"] == ["<think>\n0 plus 1.\n</think>\n\nSo \\boxed{1}.", "So \\boxed{1}."]
    assert first["is_reasoning_complete"] == [True, False]
    assert first["finish_reasons"] == ["stop", "stop"]
    assert first["correctness_math_verify"] == [True, False]
    assert first["verdict_outcome"] == ["keep", "reject"]
    assert first["verdict_filter"] == [None, "verify_math"]
    assert first["verdict_reason"] == [None, "wrong"]
    assert first["verdict_evidence"] == [None, "41"]
    assert second["correctness_math_verify"] == [True, None], "undecided is not wrong"
    assert third["correctness_math_verify"] == [True, True]
    assert third["verdict_filter"] == [None, "length"]
    assert rows["correctness_count"].to_list() == [1, 1, 2, 1, 1]


def test_rollouts_without_a_verifier():
    rows = layout.rollouts(judged().drop("verdict_verify_math"), None)
    assert not [name for name in rows.columns if name.startswith("correctness")]


def test_statistics_add_up():
    table = judged()
    stats = statistics(table, kept(table), "verify_math")
    assert (stats["rows"], stats["sampled"], stats["problems"], stats["kept_share"]) == (5, 10, 5, 0.5)
    verify, length = stats["funnel"]
    assert verify["reasons"] == [
        {"reason": "wrong", "outcome": "reject", "rows": 2},
        {"reason": "time_out", "outcome": "abstain", "rows": 2},
    ]
    assert (verify["reached"], verify["kept"], verify["rejected"], verify["abstained"]) == (10, 6, 2, 2)
    assert (length["reached"], length["kept"], length["rejected"]) == (6, 5, 1)
    assert sum(step["rows"] for step in stats["tokens"]["histogram"]) == stats["rows"]
    assert stats["sources"] == [{"name": "generated", "sampled": 10, "kept": 5}]


def test_unknown_lengths_and_answers_are_left_out(tmp_path):
    table = judged(completion_tokens=None, reference_answer=None).cast({name: TRAJECTORY[name] for name in TRAJECTORY})
    stats = write_dataset(table, recipe=recipe(), name="steps", folder=tmp_path / "d", facts={})
    assert stats["tokens"] is None
    assert "Length of the kept rows" not in (tmp_path / "d" / "README.md").read_text()


@pytest.mark.parametrize(
    "lengths", [[0], [7], [1, 1, 1], [5, 4000, 31_999], list(range(0, 240, 7)), [*range(0, 5000, 10), 888_000]]
)
def test_histogram_holds_every_row_in_few_round_bins(lengths):
    tokens = token_lengths(pl.Series(lengths).to_numpy())
    bins = tokens["histogram"]
    assert sum(step["rows"] for step in bins) == len(lengths)
    assert len(bins) <= 13
    assert bins[0]["low"] <= min(lengths) < bins[0]["high"]
    assert bins[-1]["low"] <= max(lengths) < bins[-1]["high"]
    assert len(lengths) < 100 or max(step["rows"] for step in bins) < len(lengths) / 5, "a long row squeezes no others"
    for step in bins:
        assert step["rows"] == sum(step["low"] <= length < step["high"] for length in lengths)


def test_the_same_input_gives_the_same_bytes_and_replaces_the_folder(tmp_path, folder):
    again = tmp_path / "dataset"
    again.mkdir()
    (again / "stale.txt").write_text("from an earlier run")
    write_dataset(judged(), recipe=recipe(), name="steps", folder=again, facts=FACTS)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((folder / path).read_bytes() == (again / path).read_bytes() for path in files)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_failure_leaves_the_old_folder_alone(tmp_path, monkeypatch):
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    monkeypatch.setattr(card, "render", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_dataset(judged(), recipe=recipe(), name="steps", folder=folder, facts={})
    assert (folder / "README.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_nothing_kept_names_the_filter_to_look_at(tmp_path):
    wrong = pl.lit(verdict("reject", "wrong"), dtype=VERDICT)
    table = judged().with_columns(wrong.alias("verdict_verify_math"), pl.lit(None, VERDICT).alias("verdict_length"))
    with pytest.raises(DatasetError, match=r"verify_math removed most of them:\n  verify_math: kept 0 of 10, 10 wrong"):
        write_dataset(table, recipe=recipe(), name="steps", folder=tmp_path / "d", facts={})
    with pytest.raises(DatasetError, match="no trajectories"):
        write_dataset(judged().clear(), recipe=recipe(), name="steps", folder=tmp_path / "d", facts={})
    assert not list(tmp_path.iterdir())


def test_large_tables_become_shards_and_row_groups_that_a_viewer_can_read(tmp_path):
    import pyarrow.parquet as pq

    long = judged(50).with_columns(pl.concat_str(["problem"] * 20))  # one source behind another
    table = layout.default(pl.concat([judged(150), long]), {None: INSTRUCTION})
    parquet.write(table, tmp_path / "t", shard_bytes=40_000, group_bytes=8_000)
    files = sorted((tmp_path / "t").iterdir())
    assert len(files) > 1
    assert [path.name for path in files] == [f"train-{n:05d}-of-{len(files):05d}.parquet" for n in range(len(files))]
    assert pl.read_parquet(files).equals(table)
    first, sizes = 0, []
    for path in files:
        footer = pq.read_metadata(path)
        for rows in (footer.row_group(group).num_rows for group in range(footer.num_row_groups)):
            sizes.append(table.slice(first, rows).estimated_size())
            first += rows
    assert 2_000 < min(sizes) <= max(sizes) <= 8_000
    assert parquet.GROUP_BYTES <= 286 << 20, "what the viewer reads at once"


# --- the card ---------------------------------------------------------------------------------------------------------


def metadata_of(text: str) -> dict:
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_hub_reads_the_metadata(folder):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.DatasetCard.load(folder / "README.md").data
    assert data.license == "apache-2.0"
    assert data.pretty_name == "Steps"
    assert data.size_categories == ["n<1K"]
    assert data.task_categories == ["text-generation"]
    assert {"synthetic", "reasoning", "chain-of-thought", "distillation"} <= set(data.tags)
    configs = data.to_dict()["configs"]
    assert [config["config_name"] for config in configs] == list(CONFIGS)
    assert [config.get("default", False) for config in configs] == [True, False, False]


def test_the_card_says_what_was_done(folder):
    text = (folder / "README.md").read_text()
    for said in (
        "5 solutions of 5 problems, kept out of 10 sampled",
        "each has the reasoning before it inside `<think>` tags",
        "| teacher | teacher @ abc123 |",
        "| verify_math | 10 | 6 | 2 | 2 |",
        "distill run recipes/steps.yaml",
        "| engine.version | 0.32.0 |",
        "samples per problem | 2 |",
        "| temperature, top-p | 0.6, 0.95 |",
        "| seed | 0 |",
        "| after the problem, in the user's message | Put the answer in &#92;boxed&#123;&#125;. |",
        "2 trajectories fell because a filter abstained.",
        "| generated | not declared | 10 | 5 | 50.0% |",
        "| up to 0.5 | 2 | 4 | 2 | 50.0% |\n| 1 | 3 | 6 | 3 | 50.0% |",
        "`verify_math` decided on 8 of the 10 trajectories that reached it, and abstained on 2.",
        "Of 7 labels that came with the trajectories it abstained on 1 and agreed with 5 (83.3% of those it decided).",
        "Nobody looked for it.",
        "mean 22, median 22, 95th percentile 24, longest 24, 110 in all.",
        "\n23–23  ██████████████████████████████  1\n",
    ):
        assert said in text
    headings = re.findall("^## (.*)", text, re.MULTILINE)
    assert headings[:4] == ["How the rows were made", "Length of the kept rows", "What is in it", "How to load it"]
    assert headings[4:] == ["How to make it again", "Provenance", "Limitations", "Licence"]
    assert not {"/home/", "10.0.0"} & set(
        re.findall(r"/home/|10\.0\.0", "".join(map(Path.read_text, folder.glob("*.*"))))
    )


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"samples_per_problem": 2}, ["| samples per problem | 2 |"]),
        (
            {"until": {"accepted": 1, "max_samples": 16}},
            ["| samples per problem | until 1 were accepted, at most 16 |", "easy problems were sampled less often"],
        ),
        (
            {"on_length": {"continue": 4000, "then": "keep_out"}},
            ["| where the budget cut | continued for 4,000 tokens more |", "cut in the end | kept out before any"],
        ),
    ],
)
def test_the_card_says_how_problems_were_sampled(tmp_path, sampling, said):
    given = recipe().model_dump(mode="json", by_alias=True, exclude_unset=True)
    given["trajectories"] = {"teacher": "org/teacher"} | sampling
    stats = statistics(judged(), kept(judged()), "verify_math")
    stats["columns"] = {"default": []}
    text = card.render(Recipe.model_validate(given), name="steps", stats=stats, facts={})
    assert [part for part in said if part not in text] == []


def test_a_card_of_imported_answers_claims_no_reasoning_and_no_sampling(tmp_path):
    imported = {"trajectories": {"import": {"path": "rows.jsonl"}}, "verdicts": ["verify_math"], "dataset": DATASET}
    table = judged(reasoning=None).cast({"reasoning": pl.String})
    write_dataset(table, recipe=Recipe.model_validate(imported), name="steps", folder=tmp_path / "d", facts={})
    text = (tmp_path / "d" / "README.md").read_text()
    assert "10 imported for 5 problems" in text
    assert "none has the reasoning" in text
    assert "temperature" not in text
    messages = pl.read_parquet(tmp_path / "d" / "default" / "*.parquet")["messages"].to_list()[0]
    assert messages == [
        {"role": "user", "content": "What is 0 + 1?"},
        {"role": "assistant", "content": "So \\boxed{1}."},
    ]


def test_a_run_leaves_its_origin_in_the_card(tmp_path):
    run = Run("steps", tmp_path, recipe())
    table = judged()
    verdicts = [column for column in table.columns if column.startswith("verdict_")]
    store.write_parquet(table.drop(verdicts), run.path("trajectories", "trajectories.parquet"))
    store.write_parquet(table.select(*store.KEY, *verdicts), run.path("verdicts", "verdicts.parquet"))
    teacher = {"model": "/home/someone/teacher", "revision": "abc", "template_digest": "sha256:5e"}
    facts = {"teacher": teacher | {"engine": "vllm", "engine_version": "0.32.0", "seeding": "per request"}}
    run.write_manifest("trajectories", {"facts": facts, "versions": {"vllm": "0.32.0", "trl": "absent"}})
    assert make(run, Silent())["rows"] == 5
    text = run.path("dataset", "README.md").read_text()
    assert "| teacher's revision | abc |\n| chat template | sha256&#58;5e |\n| engine | vllm 0.32.0 |" in text
    assert "| versions.vllm | 0.32.0 |" in text
    assert "absent" not in text


def test_llama_factory_finds_the_rows(folder, tmp_path):
    entry = json.loads((folder / "dataset_info.json").read_text())["steps"]
    assert (folder / entry["file_name"]).is_dir()
    assert layout.llama_factory("steps", "me/steps")["steps"]["hf_hub_url"] == "me/steps"


def test_text_from_data_cannot_break_out_of_the_card(tmp_path):
    hostile = HOSTILE + "\x1b[31m\u202e"
    table = judged(source=hostile, teacher=hostile, finish_reason=hostile)
    facts = {"command": "```\n# <script>x</script>\n````\n", hostile: hostile, "nested": {"a": [hostile, None]}}
    title = 'T"\n---\nlicense: mit\n# <img src=x>'
    write_dataset(table, recipe=recipe(title=title), name="steps", folder=tmp_path / "d", facts=facts)
    text = (tmp_path / "d" / "README.md").read_text()
    assert metadata_of(text)["license"] == "apache-2.0"
    assert metadata_of(text)["pretty_name"] == title.replace("\n", " ")
    body = text.split("\n---\n", 1)[1]
    prose = "".join(body.split("`````")[::2])
    assert prose.count("`````") == 0
    for markup in ("<script", "<img", "](http", "http:", "![", "\x1b", "\u202e"):
        assert markup not in prose
    headings = [line for line in prose.splitlines() if line.startswith("# ")]
    assert len(headings) == 1
    for table in re.findall(r"(?:^\|.*\n)+", prose, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, "no cell adds a column"


@pytest.mark.parametrize(
    ("rows", "bucket"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (804_745, "100K<n<1M"),
        (1_000_000, "1M<n<10M"),
        (10**9, "1B<n<10B"),
        (10**12, "n>1T"),
    ],
)
def test_size_category(rows, bucket):
    assert card.size_category(rows) == bucket


@pytest.mark.parametrize(
    ("longest", "room"), [(None, 32_768), (9_000, 32_768), (26_214, 32_768), (26_216, 65_536), (60_000, 131_072)]
)
def test_trainers_are_told_to_have_room_for_any_row(longest, room):
    assert card.room({"tokens": longest and {"max": longest}}) == room


@pytest.mark.parametrize("text", ["a\nb", "```\n", "~~~", "a ```` b", "", "\x1b[2J"])
def test_a_code_block_holds_its_text(text):
    block = card.code_block(text, "sh")
    fence = block.split("sh\n", 1)[0]
    assert block.endswith(f"\n{fence}")
    assert fence not in block[len(fence) : -len(fence)]
    assert "\x1b" not in block
