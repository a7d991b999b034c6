"""Fixtures that more than one test file uses."""

from pathlib import Path

import pytest
from hypothesis import settings

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
