"""What a run will cost is foreseen from a few samples, with intervals that hold; a probe is paid for once."""

import heapq
import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from test_cli import call

from distill import arithmetic, trajectories
from distill.engines.scripted import ScriptedEngine
from distill.evidence import Evidence
from distill.forecast import rest
from distill.plan.kv_cache import UnknownError, room
from distill.plan.words import size
from distill.progress import number
from distill.recipe.trajectories import Until
from distill.scheduler import Scheduler
from distill.vote import Ballot

MOST = 1000


def run_of(problems, until, seats, seed, *, stop_at=float("inf")):
    """A run in a world of easy, hard and hopeless problems, in which rejected samples are longer: what was drawn, the
    tokens so far of what is in flight at the time `stop_at`, the scheduler and the time."""
    random = np.random.default_rng(seed)
    rates = dict(zip(problems, random.beta(0.8, 0.5, len(problems)), strict=True))
    scheduler, drawn, flight, now = Scheduler(problems, until), [], [], 0.0
    while True:
        while len(flight) < seats and (key := scheduler.next()):
            accepted = bool(random.random() < rates[key[0]])
            tokens = min(MOST, int(random.lognormal(4.5 if accepted else 5.2, 0.6)))
            heapq.heappush(flight, (now + tokens, key, tokens, accepted))
        if not flight or flight[0][0] > stop_at:
            running = {key: stop_at - (end - tokens) for end, key, tokens, _ in flight}
            table = pl.DataFrame(drawn, schema=["problem_id", "completion_tokens", "accepted"], orient="row")
            return table, running, scheduler, now
        now, key, tokens, accepted = heapq.heappop(flight)
        scheduler.judged(*key, accepted)
        drawn.append((key[0], tokens, accepted))


PROBLEMS = [f"p{n}" for n in range(200)]


@pytest.mark.parametrize("until", [Until(accepted=2, max_samples=8), Until(accepted=1, max_samples=12)])
def test_intervals_from_24_problems_hold_what_a_whole_run_takes(until):
    held = np.zeros(5)
    for seed in range(12):
        table, _, scheduler, turns = run_of(PROBLEMS, until, 32, seed)
        probed = np.random.default_rng(seed).choice(PROBLEMS, 24, replace=False)
        evidence = Evidence.of(table.filter(pl.col("problem_id").is_in(probed)), MOST)
        foreseen = rest(Scheduler(PROBLEMS, until), evidence, seats=32, plays=25)
        truth = (table.height, table["completion_tokens"].sum(), table["accepted"].sum(), scheduler.solved, turns)
        estimates = (foreseen.samples, foreseen.tokens, foreseen.accepted, foreseen.solved, foreseen.turns)
        held += [each.low <= true <= each.high for each, true in zip(estimates, truth, strict=True)]
    assert (held >= 8).all(), held


def test_a_part_of_many_problems_stands_for_all():
    problems, until = [f"p{n}" for n in range(4000)], Until(accepted=2, max_samples=8)
    table, _, _, turns = run_of(problems, until, 64, 0)
    foreseen = rest(Scheduler(problems, until), Evidence.of(table, MOST), seats=64, plays=20)
    assert foreseen.tokens.value == pytest.approx(table["completion_tokens"].sum(), rel=0.1)
    assert foreseen.turns.value == pytest.approx(turns, rel=0.1)


def test_what_finished_first_is_not_taken_for_the_length_of_all():
    until = Until(accepted=4, max_samples=4)
    whole, _, _, turns = run_of(PROBLEMS, until, 256, 1)
    early, running, scheduler, now = run_of(PROBLEMS, until, 256, 1, stop_at=200)
    foreseen = rest(scheduler, Evidence.of(early, MOST, [*running.values()]), seats=256, running=running)
    naive = early["completion_tokens"].mean() * whole.height
    true = whole["completion_tokens"].sum()
    assert naive < 0.7 * true
    foreseen_total = foreseen.tokens.value + early["completion_tokens"].sum() + sum(running.values())
    assert abs(foreseen_total - true) < 0.3 * abs(naive - true)
    later, running, scheduler, now = run_of(PROBLEMS, until, 256, 1, stop_at=0.6 * turns)
    foreseen = rest(scheduler, Evidence.of(later, MOST, [*running.values()]), seats=256, running=running)
    assert foreseen.turns.low <= turns - now <= foreseen.turns.high
    assert foreseen.tokens.value + later["completion_tokens"].sum() + sum(running.values()) == pytest.approx(true, 0.1)


def test_nothing_is_left_of_a_settled_run():
    table, _, scheduler, _ = run_of(PROBLEMS, Until(accepted=1, max_samples=2), 8, 0)
    left = rest(scheduler, Evidence.of(table, MOST), seats=8, plays=3)
    assert {each.high for each in (left.samples, left.tokens, left.accepted, left.solved, left.turns)} == {0.0}


def vote_of(problems, until, seed):
    """Of a run in which each problem has a most likely answer, and others: the scheduler, and what was drawn."""
    random = np.random.default_rng(seed)
    rates = dict(zip(problems, random.beta(2, 1, len(problems)), strict=True))
    scheduler, drawn = Scheduler(problems, until), []
    while key := scheduler.next():
        accepted, right = random.random() < 0.9, random.random() < rates[key[0]]
        scheduler.judged(*key, accepted, Ballot("1" if right else str(random.integers(2, 6))))
        drawn.append((key[0], 100, accepted))
    return scheduler, pl.DataFrame(drawn, schema=["problem_id", "completion_tokens", "accepted"], orient="row")


def test_votes_that_disagree_are_foreseen_from_24_problems():
    problems, until, held = PROBLEMS[:100], Until(accepted=3, max_samples=12, vote={}), np.zeros(3)
    for seed in range(6):
        scheduler, table = vote_of(problems, until, seed)
        probed = np.random.default_rng(seed).choice(problems, 24, replace=False).tolist()
        few, ballots = table.filter(pl.col("problem_id").is_in(probed)), scheduler.ballots()
        votes = [[*Counter(ballots[each]).values()] for each in probed if ballots[each]]
        foreseen = rest(Scheduler(problems, until), Evidence.of(few, MOST, votes=votes), seats=8, plays=20)
        truth = (table.height, scheduler.accepted, scheduler.solved)
        estimates = (foreseen.samples, foreseen.accepted, foreseen.solved)
        held += [each.low <= true <= each.high for each, true in zip(estimates, truth, strict=True)]
    assert (held >= 4).all(), held
    agreed = rest(Scheduler(problems, until), Evidence.of(few, MOST), seats=8, plays=5)
    assert agreed.samples.high < table.height


# --- the command ------------------------------------------------------------------------------------------------------

RECIPE = """\
problems:
  arithmetic: {count: 60, steps: [1, 3]}
trajectories:
  teacher: {program: arithmetic, mistake_share: 0.3}
  max_tokens: 55
  LIMITS
verdicts: [format, verify_math]
"""


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def planned(*arguments, limits="until: {accepted: 1, max_samples: 4}"):
        (tmp_path / "r.yaml").write_text(RECIPE.replace("LIMITS", limits))
        return call("plan", "r.yaml", *arguments)

    return planned


def test_a_probe_is_journaled_and_paid_for_once(planned, tmp_path):
    first = planned("--probe", "10")
    assert first.exit_code == 0
    assert "cost ? unknown: no price in the recipe (limits.price)" in " ".join(first.stdout.split())
    assert max(map(len, first.stdout.splitlines())) <= 80
    assert "GPU hours" not in first.stdout
    folder = tmp_path / "runs/r"
    assert not [*folder.glob("verdicts"), *folder.glob("trajectories/trajectories.parquet")]
    rows = pl.concat(pl.read_parquet(path) for path in folder.glob("trajectories/journal-*.parquet"))
    assert rows["problem_id"].n_unique() == 10
    assert f"From {rows.height} samples of 10 problems of this run" in first.stdout
    assert planned("--probe", "10").stdout.partition("Plan of r")[2] == first.stdout.partition("Plan of r")[2]
    assert call("trajectories", "r.yaml").exit_code == 0
    after = pl.concat(pl.read_parquet(path) for path in folder.glob("trajectories/journal-*.parquet"))
    assert after.height == after.select("problem_id", "sample").n_unique() > rows.height
    again = planned("--from", "runs/r")
    table = pl.read_parquet(folder / "trajectories/trajectories.parquet")
    assert f"From {table.height} samples of 60 problems of runs/r, by its teacher." in again.stdout


def test_price_and_limits_are_told(planned):
    price = "price: {per_million_completion_tokens: 1000000, currency: EUR}"
    said = " ".join(planned(limits=f"limits: {{max_tokens: 3000, max_cost: 1000000, {price}}}").stdout.split())
    tokens = said.partition("completion tokens ")[2].partition(" ")[0]
    assert f"cost {tokens} " in said
    assert "EUR, in all" in said
    assert "The run will stop at limits.max_tokens, which is 3,000." in said
    assert "limits.max_cost" not in said


def test_a_plan_foresees_votes_as_a_probe_shows_them(planned, tmp_path):
    vote = "until: {accepted: 4, max_samples: 12, vote: {}}"
    said = planned("--probe", "20", limits=vote).stdout
    assert "as if all samples agreed" not in said
    assert call("trajectories", "r.yaml").exit_code == 0
    table = pl.read_parquet(tmp_path / "runs/r/trajectories/trajectories.parquet")
    assert amount(said, "samples") == pytest.approx(table.height, rel=0.2)


def amount(said, name):
    """The expected number of a line of a plan."""
    return float(
        next(line for line in said.splitlines() if line.strip().startswith(name))
        .split(name)[1]
        .split()[0]
        .replace(",", "")
    )


def test_what_other_runs_have_is_not_paid_for_again(planned, tmp_path):
    limits = "samples_per_problem: 4\n  limits: {price: {per_million_completion_tokens: 1000000}}"
    alone = planned(limits=limits).stdout
    assert call("trajectories", "r.yaml", "--name", "other", "--set", "problems.arithmetic.count=30").exit_code == 0
    drawing = planned("--name", "new", limits=limits + "\n  draw_on: [runs/other]").stdout
    tokens = pl.read_parquet(tmp_path / "runs/other/trajectories/trajectories.parquet")["completion_tokens"].sum()
    assert amount(drawing, "of other runs") == 120
    assert amount(alone, "cost") - amount(drawing, "cost") == pytest.approx(tokens, rel=0.15)


def test_samples_that_are_kept_out_count_as_drawn_and_as_not_accepted(planned):
    judged = planned(limits="samples_per_problem: 4").stdout
    kept_out = planned("--name", "out", limits="samples_per_problem: 4\n  on_length: keep_out").stdout
    for name in ("samples", "completion tokens", "accepted rows"):
        assert amount(kept_out, name) == amount(judged, name)
    assert call("trajectories", "r.yaml", "--name", "out").exit_code == 0
    earlier = planned("--from", "runs/out", limits="samples_per_problem: 4").stdout
    assert amount(earlier, "completion tokens") == pytest.approx(amount(judged, "completion tokens"), rel=0.1)


def test_what_mends_rejected_samples_is_foreseen_from_a_probe(planned, tmp_path, monkeypatch):
    def answer(request):
        right = arithmetic.solve(request.messages[0]["content"].partition("\n\n")[0], mistake_share=0.0, seed=0)
        known = request.seed % 100 < (50 if len(request.messages) > 1 else 30)
        return right if known else right.replace("\\boxed{", "\\boxed{7")

    monkeypatch.setattr(trajectories, "_open", lambda *arguments: ScriptedEngine(answer, name="script"))
    teacher, refine = "teacher: {program: arithmetic, mistake_share: 0.3}", "refine: {rounds: 2}"
    monkeypatch.setattr(f"{__name__}.RECIPE", RECIPE.replace(teacher, "teacher: script").replace(": 55", ": 999"))
    sets = "samples_per_problem: 2\n  engine: transformers"
    plain = planned("--name", "plain", "--probe", "30", limits=sets).stdout
    known = planned("--probe", "30", limits=f"{sets}\n  {refine}").stdout
    assert "Mended and hinted samples are foreseen from " in known
    assert call("trajectories", "r.yaml").exit_code == 0
    table = pl.read_parquet(tmp_path / "runs/r/trajectories/trajectories.parquet")
    assert table.height > 1.2 * amount(plain, "samples")
    assert amount(known, "samples") == pytest.approx(table.height, rel=0.15)
    assert amount(known, "completion tokens") == pytest.approx(table["completion_tokens"].sum(), rel=0.15)
    other = planned("--name", "new", "--from", "runs/plain", limits=f"{sets}\n  {refine}")
    assert other.exit_code == 1
    call("trajectories", "r.yaml", "--name", "plain", "--set", "trajectories.refine=null")
    unknown = planned("--name", "new", "--from", "runs/plain", limits=f"{sets}\n  {refine}").stdout
    assert "come on top: none has been seen yet" in unknown
    assert amount(unknown, "samples") == amount(plain, "samples")


@pytest.mark.parametrize(
    ("recipe", "arguments", "error"),
    [
        ("trajectories: {import: {path: x.jsonl}}\nverdicts: [format]\n", [], "so there is nothing to plan"),
        (RECIPE.replace("LIMITS", ""), ["--from", "runs/none"], "so it has no finished trajectories"),
        (
            RECIPE.replace("LIMITS", "").replace("{program: arithmetic, mistake_share: 0.3}", "{recipe: other.yaml}"),
            [],
            "student of other is missing or out of date: run `distill student` first",
        ),
    ],
)
def test_where_there_is_nothing_to_go_by_the_error_says_so(tmp_path, monkeypatch, recipe, arguments, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(recipe)
    (tmp_path / "x.jsonl").write_text(json.dumps({"problem": "1 + 1?", "response": "2"}) + "\n")
    (tmp_path / "other.yaml").write_text(
        RECIPE.replace("LIMITS", "")
        + "dataset: {license: apache-2.0}\n"
        + "student: {arms: {a: {base: {architecture: qwen2, hidden_size: 32, layers: 1, heads: 1}}}}\n"
    )
    result = call("plan", "r.yaml", *arguments)
    assert result.exit_code == 1
    assert error in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("value", "text"), [(1_434_567, "1,430,000"), (2104, "2,100"), (38, "38"), (0.01234, "0.0123"), (1e-5, "< 0.001")]
)
def test_numbers_are_no_more_precise_than_an_estimate(value, text):
    assert number(value) == text
    assert [size(value) for value in (12, 1_234_000, 5.6e12)] == ["0.012 kB", "1.23 MB", "5.6 TB"]


# --- the KV cache -----------------------------------------------------------------------------------------------------

QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
}
V3 = {"model_type": "deepseek_v3", "num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
GEMMA = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 12,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 512,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 2,
}


@pytest.fixture
def room_of(tmp_path):
    def room_of(config, args, memory_gb=None, gpus=1):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return room(str(tmp_path), None, args, memory_gb=memory_gb, gpus=gpus)

    return room_of


@pytest.mark.parametrize(
    ("config", "args", "per_token"),
    [
        (QWEN_7B, {}, 28 * 2 * 4 * 128 * 2),
        (QWEN_7B, {"kv_cache_dtype": "fp8"}, 28 * 2 * 4 * 128),
        (QWEN_7B, {"dtype": "float32"}, 28 * 2 * 4 * 128 * 4),
        (V3, {}, 61 * 576 * 2),
        (GEMMA, {}, 2 * 2 * 4 * 256 * 2),
    ],
)
def test_a_token_takes_what_its_attention_keeps(room_of, config, args, per_token):
    found = room_of(config, {"kv_cache_memory_bytes": 10**9, **args}, memory_gb=80)
    assert (found.bytes, found.per_token) == (1e9, per_token)
    if config is GEMMA:  # ten layers keep 512 tokens and no more
        assert 1e9 / found.sequences(2000) == per_token * 2000 + 5 * per_token * 512


def test_weights_are_taken_off_the_memory(room_of):
    one, two = (room_of(QWEN_7B, {"gpu_memory_utilization": 0.9}, memory_gb=80, gpus=gpus) for gpus in (1, 2))
    assert one.bytes == pytest.approx(72e9 - 2 * 7.62e9, rel=0.001)
    assert two.bytes - one.bytes == pytest.approx(72e9)
    assert room_of(QWEN_7B | {"quantization_config": {"quant_method": "awq", "bits": 4}}, {}, 80).bytes > one.bytes
    with pytest.raises(UnknownError, match=r"the weights do not fit: 7\.6B parameters in bfloat16 on 1 x 12 GB"):
        room_of(QWEN_7B, {}, memory_gb=12)
