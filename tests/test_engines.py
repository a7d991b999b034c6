"""One contract for every engine, then what is particular to each. vLLM is real, on a tiny model with random weights."""

import asyncio
import dataclasses
import importlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from distill.asking import attempt
from distill.engines import LOOK_TOKENS, Completion, EngineError, Request, choose_engine, open_engine
from distill.engines._replicas import Replicas
from distill.engines.scripted import ScriptedEngine
from distill.lineage import HINTED, ROOM
from distill.opinion import Opinion
from distill.plan.kv_cache import room
from distill.progress import Silent
from distill.recipe.trajectories import Trajectories
from distill.sampler import sample

POSITIONS = 96
needs_vllm = pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed")


@pytest.fixture(scope="module", autouse=True)
def numba_is_loaded():
    """As it is where filters have judged before: vLLM looks into everything that is loaded, and stumbles over it."""
    if importlib.util.find_spec("numba"):
        importlib.import_module("numba")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads on a tiny model spend their time waiting for each other, minutes of it on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from distill.scratch import build

    folder = tmp_path_factory.mktemp("models") / "tiny"
    texts = [f"Start with {n}. What is the result? <think>\nFirst {n}</think>" for n in range(100)]
    shape = {"hidden_size": 64, "layers": 2, "heads": 2, "kv_heads": 1, "max_positions": POSITIONS}
    build(folder, architecture="qwen2", texts=texts, vocab_size=320, seed=0, **shape)
    return folder


@pytest.fixture(scope="module")
def vllm_engine(folder):
    from distill.engines.vllm import VllmEngine

    with VllmEngine(str(folder), revision=None, args={"dtype": "float32", "max_num_seqs": 4}) as engine:
        yield engine


@pytest.fixture(scope="module")
def transformers_engine(folder):
    from distill.engines.transformers import TransformersEngine

    with TransformersEngine(str(folder), revision=None, args={"dtype": "float32", "batch_size": 4}) as engine:
        yield engine


@pytest.fixture(scope="module")
def scripted_engine():
    answer = lambda request: "<think>\n" + " w" * (request.seed % 40)  # noqa: E731
    return ScriptedEngine(answer, name="counter", in_flight=4)


@pytest.fixture(params=["scripted", "transformers", pytest.param("vllm", marks=needs_vllm)])
def engine(request):
    return request.getfixturevalue(f"{request.param}_engine")


def ask(count, **changes):
    start = {"max_tokens": 24, "temperature": 1.0, "top_p": 1.0} | changes
    return [
        Request(
            f"p{i // 4}/{i % 4}", ({"role": "user", "content": f"Start with {i // 4}"},), seed=1000 + 7 * i, **start
        )
        for i in range(count)
    ]


def by_id(completions):
    return {completion.request_id: completion for completion in completions}


# --- the contract -----------------------------------------------------------------------------------------------------


def test_every_request_is_answered_once_with_a_reason_and_counts(engine):
    requests = ask(40)
    completions = list(engine.complete(requests))
    assert Counter(c.request_id for c in completions) == Counter(r.request_id for r in requests)
    assert {c.finish_reason for c in completions} == {"stop", "length"}
    assert all(0 < c.completion_tokens <= 24 and c.prompt_tokens > 0 for c in completions)
    assert all(c.completion_tokens == 24 for c in completions if c.finish_reason == "length")
    assert all(c.text.startswith("<think>\n") for c in completions)
    assert not any("<|im_end|>" in c.text for c in completions)


@needs_vllm
def test_the_room_that_a_plan_foresees_is_what_vllm_counts(folder, vllm_engine):
    list(vllm_engine.complete(ask(1)))
    cache = vllm_engine._engine.vllm_config.cache_config
    found = room(str(folder), None, {"dtype": "float32"}, memory_gb=None, gpus=1)
    assert found.sequences(POSITIONS) * POSITIONS == pytest.approx(cache.num_gpu_blocks * cache.block_size, rel=0.02)


def test_requests_are_pulled_lazily(engine):
    pulled = 0

    def source():
        nonlocal pulled
        for request in ask(20):
            pulled += 1
            yield request

    most_ahead = 0
    for answered, _ in enumerate(engine.complete(source())):
        most_ahead = max(most_ahead, pulled - answered)
    assert (pulled, most_ahead) == (20, 4)


def test_a_sample_depends_on_its_seed_and_not_on_its_neighbours(engine):
    requests = ask(24)
    together = by_id(engine.complete(requests))
    assert by_id(engine.complete(reversed(requests))) == together
    assert list(engine.complete(requests[9:10])) == [together[requests[9].request_id]]
    assert len({c.text for c in together.values()}) > 12


def test_a_cut_completion_is_continued_from_its_text(engine):
    whole = ask(8, max_tokens=9)
    cut = [c for c in by_id(engine.complete(whole)).values() if c.finish_reason == "length"]
    requests = {r.request_id: r for r in whole}
    again = [dataclasses.replace(requests[c.request_id], prefix=c.text.rstrip("\ufffd")) for c in cut]
    continued = by_id(engine.complete(again))
    assert len(cut) > 2
    for first, request in zip(cut, again, strict=True):
        second = continued[first.request_id]
        assert second.text.startswith(request.prefix)
        assert second.prompt_tokens > first.prompt_tokens
        assert 0 < second.completion_tokens <= 9


def test_no_requests_no_completions(engine):
    assert list(engine.complete([])) == []


def test_the_think_tag_is_not_opened_when_the_request_says_so(engine):
    if engine.identity["engine"] == "scripted":
        pytest.skip("a script writes the whole text itself")
    opened, closed = (next(engine.complete(ask(1, open_think=flag))) for flag in (True, False))
    assert opened.text.startswith("<think>\n")
    assert not closed.text.startswith("<think>")
    assert opened.prompt_tokens > closed.prompt_tokens


def test_identity_names_everything_a_sample_depends_on(engine):
    assert {"model", "revision", "template_digest", "engine", "engine_version", "seeding", "args"} == set(
        engine.identity
    )
    assert engine.identity["seeding"] == "per request"


# --- engines that run a model -----------------------------------------------------------------------------------------


@needs_vllm
def test_vllm_and_transformers_write_the_same_greedy_tokens(vllm_engine, transformers_engine):
    requests = ask(32, temperature=0.0)[::4]
    assert by_id(vllm_engine.complete(requests)) == by_id(transformers_engine.complete(requests))


@pytest.mark.parametrize("name", ["transformers", pytest.param("vllm", marks=needs_vllm)])
def test_a_prompt_without_room_fails_alone_and_one_with_little_room_is_cut(name, request):
    engine = request.getfixturevalue(f"{name}_engine")
    fits, *_ = ask(1, temperature=0.0)
    long = dataclasses.replace(fits, request_id="long", messages=({"role": "user", "content": "9" * POSITIONS},))
    greedy = dataclasses.replace(fits, request_id="greedy", max_tokens=10_000)
    answers = by_id(engine.complete([long, fits, greedy]))
    assert answers["long"].finish_reason == "failed:prompt_too_long"
    assert (answers["long"].text, answers["long"].completion_tokens) == ("", 0)
    assert answers["long"].prompt_tokens > POSITIONS
    assert answers[fits.request_id].finish_reason in ("stop", "length")
    cut = answers["greedy"]
    assert cut.finish_reason == "stop" or cut.completion_tokens == POSITIONS - cut.prompt_tokens


@needs_vllm
def test_a_prompt_longer_than_the_window_is_told_from_one_longer_than_the_model(vllm_engine, monkeypatch):
    [fits] = ask(1)
    assert by_id(vllm_engine.complete([fits]))
    monkeypatch.setattr(vllm_engine, "_context", 100 * POSITIONS)
    long = dataclasses.replace(fits, messages=({"role": "user", "content": "9" * POSITIONS},))
    assert [each.finish_reason for each in vllm_engine.complete([long])] == ["failed:prompt_beyond_window"]


def test_top_p_keeps_the_likeliest_token(transformers_engine):
    greedy = by_id(transformers_engine.complete(ask(8, temperature=0.0)))
    assert by_id(transformers_engine.complete(ask(8, top_p=1e-6))) == greedy


@pytest.mark.parametrize("name", ["transformers", pytest.param("vllm", marks=needs_vllm)])
def test_what_cannot_be_opened_says_why(name, folder, tmp_path):
    def opened(model, **args):
        return open_engine(name, str(model), revision=args.pop("revision", None), args=args, say=lambda text: None)

    with pytest.raises(EngineError, match="cannot open model"):
        opened(tmp_path / "nothing")
    with pytest.raises(EngineError, match="local folder and has no revision"):
        opened(folder, revision="main")
    wrong, right = ("max_num_seq", "max_num_seqs") if name == "vllm" else ("batchsize", "batch_size")
    with pytest.raises(EngineError, match=f"'{wrong}' .did you mean '{right}'"):
        opened(folder, **{wrong: 1})


def test_a_model_without_a_chat_template_is_refused(folder, tmp_path):
    from distill.engines._local import LocalModel

    for file in folder.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(EngineError, match="no chat template"):
        LocalModel(str(tmp_path), None)


def test_the_digest_is_of_model_files_only(folder, tmp_path):
    from distill.engines._local import folder_digest

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert folder_digest(tmp_path) == folder_digest(folder)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / "trainer_state.json").write_text("{}")
    assert folder_digest(tmp_path) == folder_digest(folder)
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert folder_digest(tmp_path) != folder_digest(folder)


# --- vLLM -------------------------------------------------------------------------------------------------------------


@needs_vllm
def test_vllm_yields_what_finishes_first(vllm_engine):
    slow, *quick = ask(12, max_tokens=2, temperature=0.0)
    slow = dataclasses.replace(slow, request_id="slow", max_tokens=64)
    order = [c.request_id for c in vllm_engine.complete([slow, *quick])]
    assert order.index("slow") > 3


@pytest.mark.parametrize("name", ["transformers", pytest.param("vllm", marks=needs_vllm)])
def test_an_engine_ends_what_is_doomed_and_nothing_else(request, name):
    engine = request.getfixturevalue(f"{name}_engine")
    requests = ask(12, max_tokens=80)
    whole = by_id(engine.complete(requests))
    shown = []

    def doomed(partials):
        shown.extend((p.request.request_id, p.tokens, p.text(), len(p.symbols)) for p in partials)
        return ["loop" if p.request.request_id < "p2" else None for p in partials]

    ended = by_id(engine.complete(requests, doomed))
    assert len(shown) > 4, "random weights seldom end early"
    for name, tokens, text, symbols in shown:
        assert LOOK_TOKENS <= tokens == symbols <= LOOK_TOKENS + 1, "vLLM shows the first token alone"
        assert whole[name].text.startswith(text.rstrip("\ufffd"))
        if name < "p2":
            assert ended[name].finish_reason == "aborted:loop"
            assert (ended[name].text, ended[name].completion_tokens) == (text, tokens)
            whole.pop(name)
    assert {name: completion for name, completion in ended.items() if name in whole} == whole


@needs_vllm
def test_vllm_answers_repeated_ids_separately(vllm_engine):
    twice = [dataclasses.replace(request, request_id="same") for request in ask(4)]
    assert {c.text for c in vllm_engine.complete(twice)} == {c.text for c in vllm_engine.complete(ask(4))}


@needs_vllm
def test_vllm_goes_on_after_an_abandoned_iterator(vllm_engine):
    abandoned = vllm_engine.complete(ask(40))
    next(abandoned)
    with pytest.raises(EngineError, match="already answering"):
        next(vllm_engine.complete(ask(1)))
    loaded = vllm_engine._engine
    abandoned.close()
    assert not loaded.has_unfinished_requests()
    assert len(list(vllm_engine.complete(ask(6)))) == 6
    assert vllm_engine._engine is loaded


@needs_vllm
def test_vllm_says_what_broke_and_can_be_used_again(vllm_engine, monkeypatch):
    first, *_ = list(vllm_engine.complete(ask(1)))
    for raised, seen in ((KeyboardInterrupt("by hand"), KeyboardInterrupt), (ValueError("by hand"), EngineError)):

        def step(raised=raised):
            raise raised

        monkeypatch.setattr(vllm_engine._engine, "step", step)
        with pytest.raises(seen, match="by hand"):
            list(vllm_engine.complete(ask(8)))
        assert vllm_engine._engine is None
        assert list(vllm_engine.complete(ask(1))) == [first]


@needs_vllm
def test_vllm_leaves_the_process_as_it_was_and_makes_room_for_the_next(vllm_engine, folder, capfd):
    import torch

    from distill.engines.vllm import VllmEngine

    def state():
        affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        random_state = (random.getstate(), torch.get_rng_state().tolist())
        return dict(os.environ), affinity, torch.get_num_threads(), torch.set_num_threads, random_state

    next(vllm_engine.complete(ask(1)))
    with VllmEngine(str(folder), revision=None, args={}) as second:
        with pytest.raises(EngineError, match=r"close the engine of .* first"):
            list(second.complete(ask(1)))
        vllm_engine.close()
        vllm_engine.close()
        before = state()
        capfd.readouterr()
        assert len(list(second.complete(ask(12)))) == 12
    assert state() == before
    assert not torch.distributed.is_initialized()
    assert capfd.readouterr() == ("", "")


@needs_vllm
def test_vllm_asks_a_base_with_its_adapter(folder, tmp_path, vllm_engine):
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from distill.engines.transformers import TransformersEngine
    from distill.engines.vllm import VllmEngine

    vllm_engine.close()
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    model.save_pretrained(tmp_path / "adapter")
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "merged")
    requests, args = ask(32, temperature=0.0)[::4], {"dtype": "float32"}
    with TransformersEngine(str(folder), revision=None, args=args) as plain:
        without = by_id(plain.complete(requests))
    with TransformersEngine(str(tmp_path / "merged"), revision=None, args=args) as merged:
        expected = by_id(merged.complete(requests))
    with VllmEngine(str(tmp_path / "adapter"), revision=None, args=args) as engine:
        assert by_id(engine.complete(requests)) == expected != without
        assert engine.identity["args"]["lora"].startswith("sha256:")
        assert engine.identity["model"] == str(folder)
    with pytest.raises(EngineError, match=r"is a LoRA adapter of .* others need it merged"):
        TransformersEngine(str(tmp_path / "adapter"), revision=None, args={})


@needs_vllm
def test_vllm_samples_a_quantised_model(folder, vllm_engine, tmp_path):
    from distill.engines.vllm import VllmEngine

    requests, args = ask(40), {"dtype": "float32", "max_num_seqs": 4}
    whole = by_id(vllm_engine.complete(requests))
    vllm_engine.close()
    quantise(folder, tmp_path / "int8")
    with VllmEngine(str(tmp_path / "int8"), revision=None, args=args) as engine:
        rounded = by_id(engine.complete(requests))
    same = sum(rounded[name] == whole[name] for name in whole)
    assert len(whole) * 0.7 < same < len(whole), "products in int8 round, and seldom so far that another token is drawn"


def quantise(source, target):
    """The model in compressed-tensors' format: int8 weights with a scale a channel, activations to int8 by token."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    for name in [name for name in tensors if name.endswith("proj.weight")]:
        scale = tensors[name].abs().amax(1, keepdim=True) / 127
        tensors |= {name: (tensors[name] / scale).round().to(torch.int8), f"{name}_scale": scale}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    int8 = {"num_bits": 8, "type": "int", "symmetric": True}
    weights, activations = (
        {**int8, "strategy": "channel", "dynamic": False},
        {**int8, "strategy": "token", "dynamic": True},
    )
    config = json.loads((target / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"all": {"targets": ["Linear"], "weights": weights, "input_activations": activations}},
    }
    (target / "config.json").write_text(json.dumps(config))


def test_replicas_pass_on_what_an_asynchronous_engine_says():
    """Of an engine that speaks twice of each request, fails one and hears of the ends."""
    ended = []

    async def generate(prompt, request_id):
        try:
            for finished in (False, True):
                await asyncio.sleep(0.001 if prompt == "quick" else 60)
                if prompt == "quick" and request_id == "bad":
                    raise ValueError("no")
                yield SimpleNamespace(request_id=request_id, finished=finished)
        finally:
            ended.append(request_id)

    engine = SimpleNamespace(generate=generate, vllm_config=1, model_config=2, shutdown=lambda: ended.append("engine"))
    replicas = Replicas(lambda: engine)
    replicas.add_request("a", "quick")
    replicas.add_request("b", "slow")
    said = []
    while len(said) < 2:
        said += [(output.request_id, output.finished) for output in replicas.step()]
    assert said == [("a", False), ("a", True)]
    replicas.abort_request(["a", "b"])
    replicas.add_request("bad", "quick")
    with pytest.raises(ValueError, match="no"):
        replicas.step()
    replicas.add_request("c", "slow")
    replicas.close()
    assert ended[0] == "a"
    assert {*ended} >= {"a", "b", "bad", "engine"}
    assert not [thread for thread in threading.enumerate() if thread.name == "VllmReplicas"]


@needs_vllm
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("parts", ["data_parallel_size", "tensor_parallel_size"])
def test_vllm_of_several_processes_answers_as_one(folder, vllm_engine, parts):
    requests = ask(12, max_tokens=80)
    one = {c.request_id: c.text for c in vllm_engine.complete(requests)}
    vllm_engine.close()
    args = json.dumps({"dtype": "float32", "max_num_seqs": 4, parts: 2})
    command = [sys.executable, Path(__file__).with_name("vllm_in_parts.py"), folder, args]
    environment = os.environ | {"VLLM_CPU_SIM_MULTI_NUMA": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr[-2000:]
    said = json.loads(run.stdout.splitlines()[-1])
    assert said["answers"] == one
    assert said["ended"].keys() == one.keys()
    assert "aborted:loop" in said["ended"].values()


@needs_vllm
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"data_parallel_size": 2, "seed": 0}, "replicas .* draw the same samples; leave seed"),
        ({"data_parallel_size": "two"}, "data_parallel_size: expected a number of replicas, found 'two'"),
        ({"max_model_len": 10 * POSITIONS}, "cannot load .*max_model_len"),
        ({"quantization": "awq"}, "cannot load .*: Cannot find the config file for awq$"),
        ({"tensor_parallel_size": "two"}, "cannot load .*tensor_parallel_size: .*integer"),
        ({"model": "other"}, "'model' follows from the model"),
    ],
)
def test_vllm_says_which_argument_it_cannot_use(folder, vllm_engine, args, message):
    from distill.engines.vllm import VllmEngine

    vllm_engine.close()

    def asked():
        with VllmEngine(str(folder), revision=None, args=args) as engine:
            list(engine.complete(ask(1)))

    with pytest.raises(EngineError, match=message):
        asked()


# --- scripted, and the choice -----------------------------------------------------------------------------------------


def test_a_script_counts_words_and_is_cut_at_the_budget():
    engine = ScriptedEngine(lambda request: "<think>\na  b\n</think>\n\nc d", name="words")
    [whole] = engine.complete(ask(1, max_tokens=6))
    assert whole == Completion("p0/0", "<think>\na  b\n</think>\n\nc d", "stop", 3, 6)
    [cut] = engine.complete(ask(1, max_tokens=3))
    assert cut == Completion("p0/0", "<think>\na  b", "length", 3, 3)


def test_a_script_may_answer_with_a_completion():
    failed = Completion("p0/0", "", "failed:on_purpose", 1, 0)
    assert list(ScriptedEngine(lambda request: failed, name="failing").complete(ask(1))) == [failed]


def test_a_script_finishes_in_order_or_in_one_fixed_disorder():
    ids = [request.request_id for request in ask(12)]
    ordered, mixed, again = (
        [c.request_id for c in ScriptedEngine(lambda _: "w", name="s", in_flight=n).complete(ask(12))]
        for n in (1, 5, 5)
    )
    assert ordered == ids
    assert mixed == again != ids


def test_the_source_sees_what_has_finished_before_it_is_asked_again():
    finished = []

    def source():
        for request in ask(8):
            yield request
            if len(finished) >= 3:
                return

    engine = ScriptedEngine(lambda request: "w", name="s")
    for completion in engine.complete(source()):
        finished.append(completion)
    assert len(finished) == 3


def test_the_named_engine_is_taken_and_otherwise_the_best_one(monkeypatch):
    assert choose_engine("transformers")[0] == "transformers"
    installed = {"transformers"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    assert choose_engine("auto")[0] == "transformers"
    installed.add("vllm")
    assert choose_engine("auto")[0] == "vllm"
    installed.clear()
    with pytest.raises(EngineError, match="install distill"):
        choose_engine("auto")


def test_importing_engines_is_light():
    heavy = "{'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules)"
    code = f"import sys, distill.engines.vllm, distill.engines.transformers, distill.engines.scripted; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- turns before the question ----------------------------------------------------------------------------------------

TURNS = (
    {"role": "system", "content": "Reflect."},
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "<think>\nT\n</think>\n\nR"},
    {"role": "user", "content": "P"},
)


def test_a_template_that_drops_or_refuses_turns_is_an_error_before_anything_is_sampled(folder, monkeypatch):
    from distill.engines._local import LocalModel

    local = LocalModel(str(folder), None)
    prompt = local.tokenizer.decode(local.prompt(TURNS, open_think=True).token_ids)
    assert prompt == (
        "<|im_start|>system\nReflect.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\nT\n"
        "</think>\n\nR<|im_end|>\n<|im_start|>user\nP<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    whole = local.tokenizer.chat_template
    dropping = whole.replace("message['content']", "message['content'].split('</think>')[-1]")
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + whole
    for template, message in ((dropping, "leave that out"), (refusing, "refuses these turns: no system role")):
        monkeypatch.setattr(local.tokenizer, "chat_template", template)
        local._render.cache_clear()
        with pytest.raises(EngineError, match=message):
            local.prompt(TURNS, open_think=True)


@needs_vllm
def test_what_a_model_has_stopped_with_is_mended_and_unsolved_problems_get_a_hint(vllm_engine, tmp_path):
    import polars as pl

    rows = [(f"p{n}", f"Start with {n}.", str(n)) for n in range(24)]
    problems = pl.DataFrame(rows, schema=["problem_id", "problem", "reference_answer"], orient="row")
    again, hint = {"instruction": "Again."}, {"instruction": "It is {answer}."}
    plain = {"max_tokens": 24, "temperature": 1.0, "top_p": 1.0, "open_think": False, "instruction": ""}
    settings = Trajectories(teacher="tiny", samples_per_problem=4, refine=again, hint_unsolved=hint, **plain)

    def accepts(rows):
        return [Opinion(False, "No." * (number < ROOM)) for number in rows["sample"]]

    table = sample(vllm_engine, problems, settings, tmp_path, name="t", progress=Silent(), accepts=accepts)
    assert table.filter(pl.col("sample") >= HINTED)["problem_id"].to_list() == problems["problem_id"].to_list()
    asked = table.filter(pl.col("sample") < ROOM)
    stopped = asked.filter(pl.col("finish_reason") == "stop", pl.col("text").map_elements(attempt, pl.String) != "")
    mended = table.filter(pl.col("sample").is_between(ROOM, HINTED, closed="left"))
    assert mended.select("problem_id", pl.col("sample") - ROOM).rows() == stopped.select("problem_id", "sample").rows()
    assert mended.height
    read = {name: rows["prompt_tokens"].mean() for name, rows in (("plain", asked), ("mended", mended))}
    assert read["mended"] > read["plain"] + len("No.Again.") / 2
