"""The notebooks run from top to bottom, as they are committed: without outputs."""

import shutil
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("altair")

NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Their folder, where a run that one has made is there for the next."""
    folder = tmp_path_factory.mktemp("notebooks")
    for path in Path("notebooks").glob("*.yaml"):
        shutil.copy(path, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        patch.setenv("PYTHONPATH", str(Path.cwd()))
        yield folder


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, folder):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert not [cell for cell in code if cell.outputs], "committed without outputs"
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output.get("data", {}) for cell in code for output in cell.outputs]
    assert any("text/html" in data and "distill" in data["text/html"] for data in shown)
    assert any(
        key.startswith("application/vnd.vegalite") or "vega" in data.get("text/html", "")
        for data in shown
        for key in data
    )
