"""verify_code: what is right passes, what is wrong does not, and what could not be decided is neither."""

import json
import os
import runpy
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import FilterError, load
from filters import _canaries as canaries
from filters._canaries import faults_of_sandbox
from filters._code_compare import same_text, same_value
from filters._fences import fenced_blocks, program_in
from filters._languages import LANGUAGES
from filters._plain import Opaque, decode, encode

SPOOFS = runpy.run_path(str(Path(__file__).parent / "hostile" / "spoofs.py"))["SPOOFS"]


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox that holds: where CI has none that is a failure, never a silent skip."""
    if faults := faults_of_sandbox():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(faults)


def fenced(code: str, tag: str = "python") -> str:
    return f"So:\n```{tag}\n{code}\n```\n"


def judge(rows, **parameters) -> list[dict]:
    frame = pl.DataFrame([{"response": response, "tests": json.dumps(tests)} for response, tests in rows])
    return frame.select(load("verify_code", **parameters).verdict()).to_series().to_list()


def reason(code: str, tests: dict, **parameters) -> str:
    [verdict] = judge([(fenced(code, tests.get("language", "python")), tests)], **parameters)
    return verdict["reason"] or verdict["outcome"]


def programs_of(path) -> tuple[list[dict], list[dict]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    tests = [{"entry_point": r["entry_point"], "check": r["tests"], "prompt": r["prompt"]} for r in rows]
    return rows, judge([(fenced(r["solution"]), t) for r, t in zip(rows, tests, strict=True)])


BROKEN_AS_SHIPPED = {f"MbppEval/{n}" for n in (56, 98, 124, 137, 139, 163, 233, 246, 248, 276, 300)}
"""Plainly executed, these fail: all but the first use ``math`` and import it nowhere, which is made good here. The
tests of the first define ``check`` over the function of that name that they mean to call: no solution can pass."""
WRONG_LABELS = {
    "reflexion_mbpp_py/mbpp_422_find_Average_Of_Cube", "reflexion_mbpp_py/mbpp_724_power_base_sum",
    "reflexion_mbpp_py/mbpp_598_armstrong_number", "reflexion_mbpp_py3/mbpp_170_sum_range_list",
    "simple_mbpp_py/mbpp_798__sum", "simple_mbpp_py/mbpp_419_round_and_sum",
    "simple_mbpp_py2/mbpp_170_sum_range_list", "simple_mbpp_py2/mbpp_419_round_and_sum",
}  # fmt: skip
"""Labelled as failing, but they pass when plainly executed. All use ``sum``, which another problem of that benchmark
redefines; a harness that ran problems in one process would fail just these."""


def test_humaneval_solutions_pass(sandbox, shared_data):
    rows, verdicts = programs_of(shared_data / "code" / "humaneval.jsonl")
    assert len(rows) == 164
    assert [(r["id"], v) for r, v in zip(rows, verdicts, strict=True) if v["outcome"] != "keep"] == []


def test_mbpp_solutions_pass(sandbox, shared_data):
    rows, verdicts = programs_of(shared_data / "code" / "mbpp_sanitized.jsonl")
    assert len(rows) == 427
    failed = {r["id"]: v["reason"] for r, v in zip(rows, verdicts, strict=True) if v["outcome"] != "keep"}
    assert set(failed) <= BROKEN_AS_SHIPPED, failed
    assert failed == {"MbppEval/56": "unusable_tests"}


@pytest.mark.slow
def test_labelled_programs(sandbox, shared_data):
    rows, verdicts = programs_of(shared_data / "code" / "labelled_programs.jsonl")
    kept = {r["id"]: v["outcome"] == "keep" for r, v in zip(rows, verdicts, strict=True)}
    disagree = {r["id"] for r, v in zip(rows, verdicts, strict=True) if (v["outcome"] == "keep") != r["label"]}
    agreement = 1 - len(disagree) / len(rows)
    print(f"agreement {agreement:.4f} of {len(rows)}; disagreements: {sorted(disagree)}")
    assert agreement >= 0.98
    assert disagree == WRONG_LABELS
    assert all(kept[each] for each in WRONG_LABELS)
    assert all(v["outcome"] != "abstain" for v in verdicts)


ADD_CALLS = {"entry_point": "add", "calls": [{"args": [2, 3], "output": 5}, {"args": [-7, 7], "output": 0}]}
ADD_CHECK = {
    "entry_point": "add",
    "check": "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-7, 7) == 0\n",
}
ADD_STDIN = {"stdin": [{"input": "2 3\n", "output": "5\n"}, {"input": "-7 7\n", "output": "0\n"}]}


@pytest.mark.parametrize("tests", [ADD_CALLS, ADD_CHECK, ADD_STDIN], ids=["calls", "check", "stdin"])
def test_no_spoof_passes(sandbox, tests):
    verdicts = judge([(fenced(code), tests) for code in SPOOFS.values()], timeout_s=3)
    passed = {name: v for name, v in zip(SPOOFS, verdicts, strict=True) if v["outcome"] != "reject"}
    assert len(SPOOFS) >= 16
    assert passed == {}
    assert max(v["score"] for v in verdicts) < 1


def test_a_helper_of_the_prompt_is_the_prompts(sandbox):
    """A solution that redefines what the tests check it with gains nothing."""
    prompt = "def square(x):\n    return x * x\n\ndef root(x):\n    '''Square root.'''\n"
    tests = {"entry_point": "root", "prompt": prompt, "check": "def check(f):\n    assert square(f(9)) == 9\n"}
    assert reason("    return x ** 0.5", tests) == "keep"
    assert reason("def square(x):\n    return 9\n\ndef root(x):\n    return 1", tests) == "wrong_output"


def call(output, *args, entry_point="f", **kwargs) -> dict:
    return {"entry_point": entry_point, "calls": [{"args": args, "kwargs": kwargs, "output": output}]}


def check(code, entry_point="f") -> dict:
    return {"entry_point": entry_point, "check": code}


def stdin(given, output) -> dict:
    return {"stdin": [{"input": given, "output": output}]}


F = "def f(x):\n    "
JSON = [1, "a", None, {"k": 2.5}]
DATACLASS = "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\ndef f(x): return P(x).x"
EXPECTED_ERROR = "try:\n    f(1)\nexcept KeyError:\n    pass\nelse:\n    assert False"
PYTEST = "from solution import f\n\ndef test_one():\n    assert f(1) == 1\n\ndef test_two():\n    assert f(2) == 2"
CASES = [
    (F + "return x", call(JSON, JSON), "keep"),
    (F + "return (x, x)", call([1, 1], 1), "keep"),
    (F + "return x / 3", call(0.3333333333, x=1), "keep"),
    (F + "return x == 1", call(1, 1), "wrong_output"),
    (F + "return str(x)", call(1, 1), "wrong_output"),
    (F + "return {str(x): x}", call({"1": 1}, 1), "keep"),
    (F + "pass", call(None, 1), "keep"),
    (F + "raise ValueError", call(None, 1), "raised"),
    ("def f(x:\n    return x", call(1, 1), "raised"),
    ("class Solution:\n    def f(self, x): return x", call(1, 1, entry_point="Solution.f"), "keep"),
    (DATACLASS, call(1, 1), "keep"),
    (F + "raise KeyError(x)", check(EXPECTED_ERROR), "keep"),
    (F + "return {(1, 2): {3}, b'x': 1j}", check("assert f(0) == {(1, 2): {3}, b'x': 1j}"), "keep"),
    (F + "import re; return re.match('a', x)", check("assert f('a') and not f('b')"), "keep"),
    (F + "return object()", check("assert f(0) != 3"), "wrong_output"),
    (F + "return [object()]", check("assert f(0) == f(0)"), "wrong_output"),
    (F + "return x", check("assert f(1) == math.floor(1.5)"), "keep"),
    ("def f():\n    yield 1\n    yield 2", check("assert list(f()) == [1, 2]"), "keep"),
    ("def f():\n    yield 1\n    yield 2", check("assert f() == [1, 2]"), "wrong_output"),
    (F + "raise StopIteration", check("def ok(x):\n    return f(x) == x\nassert all(map(ok, [1, 2]))"), "raised"),
    (F + "return x", check(PYTEST), "keep"),
    (F + "return -x", check(PYTEST), "wrong_output"),
    (F + "return x", check("import nowhere\nassert f(1) == 1"), "unusable_tests"),
    (F + "return x", check("assert True"), "unusable_tests"),
    (F + "return x", check("assert f(lambda: 1)"), "unusable_tests"),
    (F + "return x", check("import os\nos._exit(0)"), "unusable_tests"),
    (F + "return x", check("assert helper(f(1)) == 1"), "unusable_tests"),
    (F + "return x", check("assert g(1) == 1", "g"), "no_entry_point"),
    ("def sum(a, b):\n    return a - b", check("assert sum(3, 1) == 2", "sum"), "keep"),
    ("print(input())\nexit()", stdin("a b", "a b"), "keep"),
    ("print(float(input()) / 3, ' ')", stdin("1", "0.33333333"), "keep"),
    ("print(float(input()) / 3, ' ')", stdin("1", "0.33333"), "wrong_output"),
    ("pass", stdin("1", ""), "keep"),
    ("raise ValueError", stdin("1", ""), "raised"),
    ("print(1)\nraise SystemExit(1)", stdin("1", "1"), "raised"),
    ("x = [0] * 10**10", stdin("1", ""), "raised"),
    ("", stdin("1", ""), "no_code"),
    (F + "raise ValueError('\\ud800\\x1b[2J')", call(1, 1), "raised"),
    (F + "return '\\ud800\\x1b[2J'", call(1, 1), "wrong_output"),
    ("print('\\x1b[2J\\x00')", stdin("1", "2"), "wrong_output"),
]


def test_cases(sandbox):
    verdicts = judge([(fenced(code), tests) for code, tests, _ in CASES], timeout_s=5)
    found = [(code, v["reason"] or v["outcome"]) for (code, *_), v in zip(CASES, verdicts, strict=True)]
    assert found == [(code, expected) for code, _, expected in CASES]


HOG = """
import os, time
for _ in range(3): os.fork()
held = bytearray(os.urandom(1 << 20)) * 50
time.sleep(9)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import time; time.sleep(9)", "time_limit"),
        ("print('x' * 10**7)\nreturn 'x' * 10**7", "output_limit"),
        (HOG, "memory_limit"),
        ("for i in range(10**7): open(f'/tmp/{i}', 'w').close()", "memory_limit"),
    ],
)
def test_limits_are_the_programs_fault(sandbox, code, expected):
    function = "def f():\n    " + code.replace("\n", "\n    ")
    stdin = {"stdin": [{"input": "1", "output": "1"}] * 50}
    calls = {"entry_point": "f", "calls": [{"output": 1}] * 50}
    limits = {"timeout_s": 1.5 if expected == "time_limit" else 30, "memory_mib": 256}
    verdicts = judge([(fenced(function + "\nf()"), stdin), (fenced(function), calls)], **limits)
    assert [(v["reason"], v["score"]) for v in verdicts] == [(expected, 0.0)] * 2


def test_a_machine_that_fails_is_not_the_programs_fault(sandbox, monkeypatch):
    rows = [(fenced("import time\ntime.sleep(9)\ndef add(a, b): pass"), t) for t in (ADD_STDIN, ADD_CALLS, ADD_CHECK)]
    monkeypatch.setattr("filters._watchdog.memory_is_short", lambda: True)
    assert [(v["outcome"], v["reason"]) for v in judge(rows, timeout_s=5)] == [("abstain", "sandbox_failed")] * 3


def test_large_data(sandbox):
    """A megabyte and more goes in; what comes out is bounded."""
    size = 400_000
    code = "def f(x):\n    return sum(x)"
    tests = [call(size, [1] * size), check(f"assert f([1] * {size}) == {size}"), stdin("1\n" * size, str(size))]
    codes = [code, code, "import sys; print(sum(map(int, sys.stdin)))"]
    assert [v["reason"] for v in judge(zip(map(fenced, codes), tests, strict=True))] == [None] * 3
    echo = fenced("def f(x):\n    return x")
    assert [v["reason"] for v in judge([(echo, call([1] * size, [1] * size))])] == ["output_limit"]


def test_score_and_evidence(sandbox):
    tests = {"entry_point": "f", "calls": [{"args": [n], "output": n * n} for n in range(4)]}
    [verdict] = judge([(fenced("def f(x):\n    return x + x"), tests)])
    assert verdict["score"] == 0.5
    assert verdict["evidence"] == "test 2 of 4: f(1), expected 1, found 2"
    [verdict] = judge([(fenced("def f(x):\n    return x * x if x < 3 else f(x + 1) if x < 900 else exit()"), tests)])
    assert (verdict["reason"], verdict["score"]) == ("raised", 0.75)
    [verdict] = judge([(fenced("import os\ndef f(x):\n    return x * x if x < 3 else os._exit(0)"), tests)])
    assert (verdict["reason"], verdict["score"]) == ("raised", 0.75)
    [verdict] = judge([(fenced("def add(a, b):\n    return a * b"), ADD_CHECK)])
    assert verdict["evidence"] == "assert candidate(2, 3) == 5: AssertionError; the last call returned 6"
    [verdict] = judge([(fenced("def add(a, b):\n    return a / 0"), ADD_CHECK)])
    assert "ZeroDivisionError: division by zero" in verdict["evidence"]


SUMS = {
    "c": '#include <stdio.h>\nint main() { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }',
    "cpp": "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number); console.log(a + b)",
    "bash": 'read a b; echo $((a + b)); echo "$HF_TOKEN" "$HOME" >&2',
    "python": "print(sum(map(int, input().split())))",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages(sandbox, language):
    if absent := LANGUAGES[language].absent():
        pytest.skip(f"no {absent}")
    tests = ADD_STDIN | {"language": language}
    assert reason(SUMS[language], tests) == "keep"
    assert reason(SUMS[language].replace("a + b", "a - b").replace("sum", "max"), tests) == "wrong_output"


def test_a_program_that_does_not_compile(sandbox):
    if LANGUAGES["cpp"].absent():
        pytest.skip("no g++")
    assert reason("int main() { return x; }", ADD_STDIN | {"language": "cpp"}) == "compile_error"
    assert reason('#include "/etc/passwd"', ADD_STDIN | {"language": "cpp"}) == "compile_error"


def test_a_compiler_that_is_absent_is_told_before_sampling(monkeypatch):
    monkeypatch.setattr("filters._languages.shutil.which", lambda *_, **__: None)
    tests = json.dumps(ADD_STDIN | {"language": "cpp"})
    problems = pl.DataFrame({"tests": [tests, json.dumps(ADD_STDIN)]})
    assert load("verify_code").unverifiable(problems).to_list() == ["no_compiler: no g++ for cpp", None]


UNUSABLE = [
    "",
    "[]",
    "{}",
    "null",
    "[" * 100_000,
    '{"stdin": []}',
    '{"stdout": []}',
    '{"stdin": [{"input": 1, "output": ""}]}',
    '{"language": "cobol", "stdin": [{"input": "", "output": ""}]}',
    '{"calls": [{"output": 1}]}',
    '{"entry_point": "f"}',
    '{"entry_point": "f", "calls": [{"args": [1]}]}',
    '{"entry_point": "f", "check": "assert ("}',
    '{"entry_point": "f x", "check": "assert 1"}',
    '{"entry_point": "f", "check": "x", "stdin": [{"input": "", "output": ""}]}',
    '{"language": "cpp", "entry_point": "f", "check": "x"}',
]


@pytest.mark.parametrize("tests", UNUSABLE)
def test_unusable_tests_are_told_before_sampling(tests):
    [fault] = load("verify_code").unverifiable(pl.DataFrame({"tests": [tests]}))
    assert fault.startswith("unusable_tests: ")
    assert len(fault) > len("unusable_tests: ")


def test_problems_without_tests_are_told():
    f = load("verify_code")
    assert f.unverifiable(pl.DataFrame({"tests": [None, json.dumps(ADD_CALLS)]})).to_list() == ["missing_input", None]
    assert f.unverifiable(pl.DataFrame({"problem": ["a", "b"]})).to_list() == ["missing_input"] * 2


def test_same_rows_run_once(sandbox, monkeypatch):
    import filters.verify_code as module

    runs = []
    run_tests = module.run_tests
    monkeypatch.setattr(module, "run_tests", lambda *given: runs.append(given) or run_tests(*given))
    judge([(fenced("print(5)"), ADD_STDIN)] * 5 + [(fenced("print(0)"), ADD_STDIN)])
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("fault", "cure"),
    [
        ("bwrap: not found", "apt-get install bubblewrap"),
        ("bwrap: No permissions to create new namespace", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ],
)
def test_without_a_sandbox_nothing_runs(monkeypatch, fault, cure):
    def refuse(*_, **__):
        raise canaries.SandboxError(fault)

    monkeypatch.setattr(canaries, "missing_programs", lambda: ["bwrap"] if "not found" in fault else [])
    monkeypatch.setattr(canaries, "run", refuse)
    faults_of_sandbox.cache_clear()
    try:
        with pytest.raises(FilterError, match=f"{fault}.*{cure}"):
            load("verify_code").check_ready()
        with pytest.raises(FilterError, match=fault):
            list(load("verify_code").judge_batch(pl.DataFrame({"response": [fenced("x")], "tests": ["{}"]})))
    finally:
        faults_of_sandbox.cache_clear()


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\na\n```\ntext\n```python\nb\n```", "b\n"),
        ("```python\na\n```\n```text\nb\n```\n```\nc\n```", "a\n"),
        ("```\na\n```\n```text\nb\n```", "a\n"),
        ("```text\na\n```", None),
        ("```python\na\n", None),
        ("```python\ndef f(): pass\n```\n```python\nf()\n```", "def f(): pass\n"),
        ("~~~py\n```\n~~~", "```\n"),
        ("````Python title\na\n```\nb\n````", "a\n```\nb\n"),
        ("- so\n  ```{.python}\n  if x:\n      y\n  ```", "if x:\n    y\n"),
        ("no code `at` all", None),
        ("", None),
    ],
)
def test_programs_in_responses(response, program):
    assert program_in(response, LANGUAGES["python"].tags, "f") == program


@given(st.text(alphabet="`~\n ab"))
def test_fences_never_fail(text):
    for _, code in fenced_blocks(text):
        assert len(code) <= len(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner)
    | st.frozensets(st.integers() | st.text()) | st.sets(st.integers()),
    max_leaves=20,
)  # fmt: skip


@given(plain)
def test_plain_data_comes_back_as_it_was(value):
    back = decode(json.loads(encode(value)))
    assert back == value
    assert type(back) is type(value)


ITERATOR = type(iter([]))
words = st.sampled_from(
    ["list", "iterator", "set", "dict", "int", "float", "bytes", "complex", "opaque", "ff", "0x1p3"]
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words, lambda inner: st.lists(inner, max_size=4)
)


@given(trees)
def test_forged_data_is_refused_or_plain(tree):
    """Whatever JSON a program writes, it becomes plain data or a ValueError, never anything else."""
    try:
        value = decode(tree)
    except ValueError:
        return
    assert type(value) in (
        type(None),
        bool,
        str,
        int,
        float,
        complex,
        bytes,
        list,
        tuple,
        set,
        frozenset,
        dict,
        Opaque,
        ITERATOR,
    )
    json.loads(encode(value))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda t: st.lists(t) | st.dictionaries(st.text(), t)
    )
)
def test_a_value_is_the_same_as_itself_only(value):
    assert same_value(value, value, 0.0)
    assert not same_value(value, [value], 0.0)
    assert not same_value(value, Opaque("Any", True), 0.0)


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ("a b\nc\n", "a b  \nc\n\n", True),
        ("a b", "a\nb", False),
        ("a", "A", False),
        ("1", "1.0", False),
        ("1.0", "1.00", True),
        ("0.5", "0.5000001", True),
        ("0.5", "0.501", False),
        ("1000000000000", "1000000000001", False),
        ("1e3", "1000.0", True),
        ("1e400", "1", False),
        ("nan", "NaN", False),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_text(expected, found, same):
    assert same_text(expected, found, 1e-6) is same
