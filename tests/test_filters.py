"""Every filter obeys one contract. A new file in filters/ is tested here without a new test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import filters
from filters import FilterError, _filter, available, filter_class, load
from filters._canaries import faults_of_sandbox
from filters.testing import CONTRACT


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", available())
def test_contract(name, check):
    if name == "verify_code" and not os.environ.get("CI") and (faults := faults_of_sandbox()):
        pytest.skip(f"no sandbox on this machine: {faults}")
    check(filter_class(name))


def test_provenance_changes_with_parameters():
    assert load("length").provenance()["digest"] != load("length", max_tokens=9999).provenance()["digest"]


def test_provenance_reaches_every_private_module_that_a_verdict_passes_through(monkeypatch):
    digest = load("repetition").provenance()["digest"]
    real = _filter._source

    def changed(module):
        return real(module) + ("# changed" if module == "filters._tokens" else "")

    monkeypatch.setattr(_filter, "_source", changed)
    assert load("repetition").provenance()["digest"] != digest


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("lenght", {}, "Did you mean 'length'"),
        ("nothing_like_it", {}, "Known filters: any_of, by_domain, "),
        ("length", {"min_tokns": 1}, "'min_tokns'. Did you mean 'min_tokens'"),
        ("length", {"max_tokens": -1}, r"max_tokens: .*found -1"),
        ("length", {"min_tokens": 9, "max_tokens": 3}, "nothing would be kept"),
        ("language_mix", {"language": "xx"}, "unknown language 'xx'"),
    ],
)
def test_a_wrong_entry_is_named(name, parameters, message):
    with pytest.raises(FilterError, match=message):
        load(name, **parameters)


def test_import_is_light_and_judging_imports_the_library():
    """A filter can be built, documented and checked without its heavy library."""
    code = (
        "import sys, filters\n"
        "for name in filters.available():\n"
        "    cls = filters.filter_class(name)\n"
        "    cls(**cls.example_parameters).provenance()\n"
        "heavy = {'math_verify', 'sympy', 'langdetect', 'datasketch', 'openai', 'torch', 'numpy', 'distill'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(filters.__file__).parents[1])
