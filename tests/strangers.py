"""Libraries that people read and train a dataset with, of versions that distill does not install."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def installed(folder: Path, *requirements: str, built: bool = False) -> Path:
    """`folder` with these packages, for the front of a path; skips where no registry has them.

    What they need themselves is the environment's, so that no test waits for another torch. They come as wheels,
    unless they may be `built`.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    command = [*pip, *([] if built else ["--only-binary=:all:"]), "--retries", "1", "--timeout", "10", *requirements]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"needs a package registry: {' '.join(ran.stderr.splitlines()[-1:])}")
    return folder


@contextmanager
def importable(folder: Path, *requirements: str, empty: str | None = None) -> Iterator[None]:
    """These packages can be imported here, and are forgotten at the end; `empty` is a module with nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed(folder, *requirements))
        if empty:
            (folder / f"{empty}.py").touch()
        yield
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
                del sys.modules[name]
