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

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.register_assert_rewrite("filters.testing")
settings.register_profile("untimed", deadline=None)  # machines are shared: a slow example is no failure
settings.load_profile("untimed")


LONG = ("test_end_to_end", "test_verify_code", "test_student", "test_served_by_vllm", "test_engines", "test_methods")
"""Files that take a minute or more."""
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other on busy cores take far longer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that none is left over at the end. The gate has its time to keep."""
    items.sort(key=lambda item: item.path.stem not in LONG)
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
def launched_as(monkeypatch):
    """Makes the processes of a launched training run another module in place of the worker."""
    from distill.student import launch

    told = launch.command

    def launched_as(module):
        ours = lambda *args, **named: [  # noqa: E731
            part.replace("distill.student.worker", module) for part in told(*args, **named)
        ]
        monkeypatch.setattr(launch, "command", ours)

    return launched_as


@pytest.fixture
def fsdp2(launched_as):
    """Processes that are launched share out weights by PyTorch, as on GPUs."""
    launched_as("sharding_worker")


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
