"""Fixtures that more than one test file uses."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hub_server import hub_stand_in
from hypothesis import settings
from pushing import TOKEN, make_run
from servers import stand_in
from vllm_servers import vllm_servers

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.register_assert_rewrite("filters.testing")
settings.register_profile("untimed", deadline=None)  # machines are shared: a slow example is no failure
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The gate has its time to keep."""
    for item in items:
        if "CI" in os.environ and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: not in the gate"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout, which is not part of the project: tests that want it skip where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A Chromium without a window; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Two real vLLM servers: the base URL of a model that can only babble, `chat`, and of one with a random `reward`
    head; `folder` holds both models.
    """
    pytest.importorskip("vllm")
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, Qwen2ForSequenceClassification

    from distill import scratch

    folder = tmp_path_factory.mktemp("served")
    texts = ["What is the capital of France?", "Which month has 28 days in most years?"]
    shape = {"hidden_size": 64, "layers": 1, "heads": 2, "max_positions": 2048, "vocab_size": 400, "seed": 0}
    for name in ("chat", "reward"):
        scratch.build(folder / name, architecture="qwen2", texts=texts, **shape)
    config = AutoConfig.from_pretrained(folder / "reward", num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForSequenceClassification(config)
        torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder / "reward")
    # A seed kills the CPU engine under chunked prefill; white space between tokens of JSON is what babble is made of.
    json = '{"backend": "xgrammar", "disable_any_whitespace": true}'
    chat = ("--no-enable-chunked-prefill", "--structured-outputs-config", json)
    with vllm_servers([(folder / "chat", chat), (folder / "reward", ("--runner", "pooling"))]) as urls:
        yield SimpleNamespace(folder=folder, chat=urls[0], reward=urls[1])


@pytest.fixture(scope="session", autouse=True)
def _no_server_but_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Filters that ask a server ask a stand-in here, without anybody's key, and keep its replies apart."""
    with stand_in() as server, pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("DISTILL_CACHE", str(tmp_path_factory.mktemp("replies")))
        yield


@pytest.fixture
def hub(monkeypatch):
    """A stand-in Hub for the real clients, with a token that may write."""
    constants = pytest.importorskip("huggingface_hub.constants")
    from distill import push

    with hub_stand_in() as hub:
        hub.writers.add(TOKEN)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(push, "WAIT_S", 0.001)
        monkeypatch.setattr(
            "huggingface_hub.utils._http.time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
        )
        yield hub


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with a recipe, sums.yaml, and its finished run."""
    return make_run(tmp_path_factory.mktemp("made"))
