# Two commands from a fresh machine: `make quickstart` distills a small student, `make test` runs the tests.
# Needs Linux, Python >= 3.11 with venv, and make. Everything is installed into .venv.

PYTHON ?= python3
TORCH_INDEX ?=# a package index that has torch's CPU build, if yours has not
BIN := .venv/bin
INSTALLED := .venv/installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart r1-tiny test check format lock clean

quickstart: $(INSTALLED)
	$(BIN)/distill run recipes/quickstart.yaml

# The stages of DeepSeek-R1 at tiny size, each a recipe that begins with the student of another one.
r1-tiny: $(INSTALLED)
	$(BIN)/distill run recipes/r1/6_distill.yaml

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch comes first and apart: some indexes have its CPU build under the version "2.13.0+cpu", others only the one for
# CUDA, which must bring its dependencies. The rest is complete in the lock, so nothing else is resolved.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "distill needs Python >= 3.11, found " + sys.version.split()[0] + "; name another with make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@grep '^torch==' requirements.lock >.venv/torch.txt
	@grep -v '^torch==' requirements.lock >.venv/rest.txt
	@echo "installing torch (the CPU build if the index has it) and $$(wc -l <.venv/rest.txt) pinned packages into .venv"
	@$(BIN)/pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --no-deps -r .venv/torch.txt 2>/dev/null \
	  || $(BIN)/pip install -q 'torch==2.13.0'
	@# uv is faster; it does not read pip's settings, and where it finds no index pip does.
	@$(BIN)/pip install -q uv 2>/dev/null \
	  && VIRTUAL_ENV=.venv $(BIN)/uv pip install -q --compile-bytecode --no-deps -r .venv/rest.txt 2>/dev/null \
	  || $(BIN)/pip install -q --no-deps -r .venv/rest.txt
	@# The plain kind of editable installation: the other one adds an import hook that every command pays for.
	@$(BIN)/pip install -q --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $(INSTALLED)

# Names and versions only, for every Python and platform the project supports. UPGRADE=1 takes newer versions of all.
lock: $(INSTALLED)
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra cpu --extra train --extra judge --extra fast --extra view --extra plots --extra dev \
	  $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header $(if $(UPGRADE),--upgrade) -q -o requirements.lock

clean:
	rm -rf .venv runs
