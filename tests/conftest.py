"""Fixtures that more than one test file uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from servers import stand_in

pytest.register_assert_rewrite("filters.testing")
settings.register_profile("untimed", deadline=None)  # machines are shared: a slow example is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout, which is not part of the project: tests that want it skip where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_server_but_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Filters that ask a server ask a stand-in here, without anybody's key, and keep its replies apart."""
    with stand_in() as server, pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("DISTILL_CACHE", str(tmp_path_factory.mktemp("replies")))
        yield
