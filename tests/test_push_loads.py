"""What was pushed comes back as it was made, whole and streamed, with each `datasets` that people have."""

import json
import os
import subprocess
import sys

import pytest
from pushing import REPO, TOKEN, push_run, rows_of
from strangers import installed

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

VERSIONS = {
    # major version: it and those of what it needs that it does not have in common with ours; none for ours
    "3": ("datasets==3.6.0", "dill==0.3.8", "multiprocess==0.70.16", "fsspec==2025.3.0", "huggingface_hub==0.36.2"),
    "4": ("datasets==4.8.5", "fsspec==2026.2.0", "huggingface_hub==1.33.0"),
    "5": (),
}
LOAD = """
import json, sys
import datasets
repo, token = sys.argv[1:]
print(json.dumps(datasets.__version__))
for config in datasets.get_dataset_config_names(repo, token=token):
    whole = datasets.load_dataset(repo, config, split="train", token=token)
    streamed = list(datasets.load_dataset(repo, config, split="train", streaming=True, token=token))
    print(json.dumps([config, whole.to_list(), streamed == whole.to_list()]))
print(json.dumps(["", datasets.load_dataset(repo, split="train", token=token).to_list(), True]))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_every_config_loads_and_streams(hub, made, tmp_path, version):
    """As in a stranger's Python, with the token; of no config that is named, it is the default."""
    path = installed(tmp_path / "packages", *VERSIONS[version]) if VERSIONS[version] else ""
    assert push_run(made)[0] == 0
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    here = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(path)}
    quick = {"NO_PROXY": "127.0.0.1,localhost", "USE_TORCH": "0", "USE_JAX": "0"}
    command = [sys.executable, "-c", LOAD, REPO, TOKEN]
    ran = subprocess.run(command, env=kept | here | quick, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    used, *loaded = map(json.loads, ran.stdout.splitlines())
    assert used.partition(".")[0] == version
    assert [config for config, *_ in loaded] == ["default", "prompt_completion", "rollouts", "rejected", ""]
    for config, rows, streamed_the_same in loaded:
        assert rows == rows_of(made, config or "default"), config
        assert streamed_the_same, config
