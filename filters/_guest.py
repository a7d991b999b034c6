"""What runs inside the sandbox beside a function under test.

The file is copied into a sandbox and started there, as the *solution's* side or as the *tests'* side; the two never
share a process. Nothing that comes out of the solution's side is believed: it is data, with a type, of a value.
"""

import builtins
import marshal
import os
import sys

from filters._plain import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would cost as much as all the rest
    from typing import Any
else:
    Any = object


class _Wire:
    """The guest's end: requests from the caller come in, one line goes out for each. Prints go nowhere."""

    def __init__(self) -> None:
        self._requests, self._replies = os.dup(0), os.dup(1)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)

    def receive(self) -> Any:
        return marshal.loads(self._exactly(int.from_bytes(self._exactly(4), "little")))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = os.read(self._requests, size - len(data))
            if not more:
                os._exit(0)
            data += more
        return bytes(data)

    def send(self, *parts: str) -> None:
        """Send parts that are JSON already."""
        data = f"[{','.join(parts)}]\n".encode()
        while data:
            data = data[os.write(self._replies, data) :]


def _error(error: BaseException) -> tuple[str, str]:
    try:
        return encode(type(error).__name__), encode(str(error)[:200])
    except BaseException:
        return encode("Exception"), encode("")


def serve_solution(wire: _Wire) -> None:
    """Load a program, then call its functions as asked, until nothing is asked any more."""
    prelude, program = wire.receive()
    module = type(sys)("solution")
    sys.modules["solution"] = module
    names = vars(module)
    _try_prompt(prelude, names)
    try:
        exec(compile(program, "<program>", "exec"), names)
    except BaseException as error:
        wire.send('"raised"', *_error(error))
    else:
        wire.send('"loaded"')
    while True:
        name, arguments, keywords = wire.receive()
        try:
            function = _resolve(names, name)
        except BaseException:
            wire.send('"missing"')
            continue
        try:
            value = function(*map(decode, arguments), **{k: decode(v) for k, v in keywords.items()})
            wire.send('"value"', encode(value))
        except BaseException as error:
            wire.send('"raised"', *_error(error))


def _try_prompt(prompt: str, names: dict[str, Any]) -> None:
    try:
        exec(compile(prompt, "<prompt>", "exec"), names)
    except BaseException:  # suppress would cost the import of contextlib
        return  # it may end in the middle of a function: a whole program needs none of it


def _resolve(names: dict[str, Any], path: str) -> Any:
    first, *attributes = path.split(".")
    found = names[first]
    for attribute in attributes:
        found = getattr(found() if isinstance(found, type) else found, attribute)
    return found


class _Names(dict[str, Any]):
    """The tests' names; one that nobody defined is a module that they forgot to import, or the solution's function."""

    wire: _Wire
    entry_point: str
    calls = 0

    def __missing__(self, name: str) -> Any:
        if name != self.entry_point:
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in getattr(sys, "stdlib_module_names", ()):
                return __import__(name)
        return self.proxy(name)

    def proxy(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **keywords: self.call(name, arguments, keywords)

    def call(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        encoded = encode([list(arguments), keywords])
        if '["opaque",' in encoded.replace('["opaque","Opaque",', ""):
            self.calls = 0
            raise TypeError("the tests pass an argument that is not plain data")
        self.calls += 1
        self.wire.send('"call"', encode(name), encoded)
        outcome, *parts = self.wire.receive()
        if outcome == "value":
            return decode(parts[0])
        kind: Any = getattr(builtins, parts[0], None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            kind = type(parts[0], (Exception,), {})
        if issubclass(kind, (StopIteration, StopAsyncIteration)):  # it would end a loop of the tests, not fail it
            kind = RuntimeError
        raise kind.__new__(kind, parts[1])


def serve_tests(wire: _Wire) -> None:
    """Run tests against functions that live elsewhere, and say how it went."""
    prompt, tests, entry_point = wire.receive()
    names = _Names({"__name__": "tests"})
    names.wire, names.entry_point = wire, entry_point
    _try_prompt(prompt, names)
    for name in [name for name, value in names.items() if name == entry_point or _is_stub(value)]:
        del names[name]
    candidate = names["candidate"] = names[entry_point]
    solution = type(sys)("solution")
    solution.__getattr__ = names.proxy  # type: ignore[method-assign]
    sys.modules["solution"] = solution
    try:
        exec(compile(tests, "<tests>", "exec"), names)
        if "check" in names:
            names["check"](candidate)
        else:
            for name in [name for name in names if name.startswith("test_")]:
                names[name]()
    except BaseException as error:
        line = _line_of(error, tests)
        wire.send('"failed"' if names.calls else '"unusable"', *_error(error), encode(line))
    else:
        wire.send('"passed"' if names.calls else '"unusable"', encode("Tests"), encode("never call it"), '""')


def _is_stub(value: Any) -> bool:
    def documented() -> None:
        """Nothing but this line."""

    def bare() -> None:
        pass

    code = getattr(value, "__code__", None)
    return code is not None and code.co_code in (documented.__code__.co_code, bare.__code__.co_code)


def _line_of(error: BaseException, tests: str) -> str:
    number, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return tests.split("\n")[number - 1].strip()[:200] if number else ""


def main() -> None:
    """Serve as the side that the command line names."""
    {"solution": serve_solution, "tests": serve_tests}[sys.argv[1]](_Wire())
