"""The card says what the run recorded: what filters found, how far the verifier is trusted, under which terms."""

import json
import re

import polars as pl
import pytest
from pushing import RECIPE, make_run, push_run
from typer.testing import CliRunner

from distill.cli import app
from distill.dataset import findings
from filters import VERDICT

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

HARD = """\
problems:
  arithmetic: {count: 40, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 3
verdicts:
- format
- verify_math
- decontaminate: {benchmarks: [BENCHMARK]}
- dedup_exact
- dedup_near: {threshold: 0.5, ngram_words: 2}
dataset: {license: apache-2.0, source_licenses: cc0-1.0, teacher_license: mit}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A run whose filters find something, its statistics and its card; the first two problems are a benchmark."""
    folder = tmp_path_factory.mktemp("found")
    benchmark = folder / "bench|mark.jsonl"
    benchmark.write_text('{"problem": "nothing that is asked"}\n')
    make_run(folder, HARD.replace("BENCHMARK", str(benchmark)))
    problems = pl.read_parquet(folder / "runs/sums/problems.parquet")["problem"]
    benchmark.write_text("".join(json.dumps({"problem": text}) + "\n" for text in problems[:2]))
    make_run(folder, HARD.replace("BENCHMARK", str(benchmark)))
    dataset = folder / "runs" / "sums" / "dataset"
    return folder, json.loads((dataset / "stats.json").read_text()), (dataset / "README.md").read_text()


def test_what_filters_found_is_counted_from_their_evidence(found):
    folder, stats, _ = found
    judged = pl.read_parquet(folder / "runs/sums/verdicts/verdicts.parquet")
    fell = {
        name: judged[f"verdict_{name}"].struct.field("outcome").cast(pl.String).eq("reject").sum()
        for name in ("decontaminate", "dedup_exact", "dedup_near")
    }
    contamination = stats["contamination"]
    assert (contamination["rejected"], contamination["items"]) == (fell["decontaminate"], 2) == (6, 2)
    assert [span["item"] for span in contamination["spans"]] == ["bench|mark:0", "bench|mark:1"]
    assert all(span["span"].startswith("Start with ") for span in contamination["spans"])
    for copies in stats["copies"]:
        assert copies["rejected"] == fell[copies["filter"]] > 0
        assert 1 <= copies["clusters"] <= copies["rejected"]
        assert 2 <= copies["largest"] <= copies["rejected"] - copies["clusters"] + 2


def test_a_problem_is_as_hard_as_its_samples_failed():
    def verdicts(*outcomes):
        rows = [
            outcome and {"outcome": outcome, "reason": None, "score": None, "evidence": None} for outcome in outcomes
        ]
        return pl.Series(rows, dtype=VERDICT)

    judged = pl.DataFrame(
        {
            "problem_id": ["never", "never", "some", "some", "some", "always", "undecided"],
            "sample": [0, 1, 0, 1, 2, 0, 0],
            "source": "generated",
            "verdict_format": verdicts("keep", "reject", "keep", "keep", "keep", "keep", "keep"),
            "verdict_verify_math": verdicts("reject", None, "keep", "reject", "abstain", "keep", "abstain"),
            "verdict_length": verdicts(None, None, "keep", None, None, "reject", None),
        }
    )
    assert findings.by_difficulty(judged, judged[2:3], "verify_math") == [
        {"pass_rate": "0", "problems": 1, "sampled": 2, "kept": 0},
        {"pass_rate": "up to 0.5", "problems": 1, "sampled": 3, "kept": 1},
        {"pass_rate": "1", "problems": 1, "sampled": 1, "kept": 0},
        {"pass_rate": "unknown", "problems": 1, "sampled": 1, "kept": 0},
    ]


def test_the_card_shows_it_without_places_and_markup(found):
    folder, stats, card = found
    assert str(folder) not in card
    assert "| bench&#124;mark&#58;0 | 3 | Start with" in card
    assert f"{stats['contamination']['rejected']} were left out for 2 benchmark items" in card
    assert re.search(r"\| dedup_near \| \d+ \| \d+ \| \d+ \|", card)
    assert "| distill/arithmetic | cc0-1.0 | 120 |" in card
    assert "| the teacher's outputs | mit |" in card
    assert "`verify_math` decided on 120 of the 120 trajectories that reached it, and abstained on 0." in card
    assert "not judged a second time" in card


def test_an_audit_made_later_is_on_the_card_that_is_pushed_until_verdicts_change(found, hub):
    folder, *_ = found
    recipe = str(folder / "sums.yaml")
    assert CliRunner().invoke(app, ["audit", recipe, "--runs", str(folder / "runs")]).exit_code == 0
    code, said = push_run(folder)
    assert code == 0, said
    card = hub.repos["me/sums"].files["README.md"].decode()
    assert re.search(r"\| verify_math extraction=library \| false accept \| 0 \| 120 \| 0.0% \| 0.0% to 3.1% \|", card)
    assert "distill run recipe.yaml --name sums" in card
    (folder / "sums.yaml").write_text((folder / "sums.yaml").read_text().replace("threshold: 0.5", "threshold: 0.9"))
    make_run(folder, (folder / "sums.yaml").read_text())
    assert push_run(folder)[0] == 0
    assert "not judged a second time" in hub.repos["me/sums"].files["README.md"].decode()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (("  teacher_license: mit\n", ""), "dataset.teacher_license: the licence or terms of what the teacher writes"),
        (
            ("  source_licenses: {distill/arithmetic: cc0-1.0}\n", ""),
            "dataset.source_licenses: the licence of the problems of distill/arithmetic;",
        ),
        (
            ("distill/arithmetic: cc0", "arithmetics: cc0"),
            "there are no rows of arithmetics, but of distill/arithmetic",
        ),
    ],
)
def test_a_licence_that_nobody_declared_is_never_guessed(hub, tmp_path, changed, says):
    make_run(tmp_path, RECIPE.replace(*changed))
    code, said = push_run(tmp_path)
    assert (code, says in said) == (1, True), said
    assert not hub.seen


def test_a_card_that_the_hub_does_not_take_stops_a_push_before_anything_is_sent(hub, tmp_path):
    make_run(tmp_path, RECIPE.replace("apache-2.0", "apache2"))
    code, said = push_run(tmp_path)
    assert (code, 'does not take the card: "license" must be one of [apache-2.0, mit,' in said) == (1, True), said
    assert not hub.repos
    assert not hub.stored
