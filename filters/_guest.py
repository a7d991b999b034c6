"""What runs inside the sandbox beside a function under test, and the plain data that crosses its wall.

The file is copied into a sandbox and started there, as the *solution's* side or as the *tests'* side; the two never
share a process. The caller imports only `encode`, `decode` and `frame`. Nothing that comes out of the solution's
side is believed: it is data, with a type, of a value. Few imports: each costs milliseconds in every run.
"""

import builtins
import marshal
import os
import sys
from _json import encode_basestring_ascii
from contextlib import suppress
from typing import Any

_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class Opaque:
    """A value that is not plain data. It has a truth value; whatever else is done with it fails."""

    def __init__(self, kind: str, truth: bool) -> None:
        self.kind, self.truth = kind, truth

    def __bool__(self) -> bool:
        return self.truth

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def _fail(self, *_: object) -> Any:
        raise TypeError(f"{self.kind} is not plain data")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __len__ = __iter__ = __contains__ = _fail
    __hash__ = object.__hash__


def encode(value: Any) -> str:
    """Plain data as JSON text in which every type has its tag; an instance of a subclass counts as its base."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return str(encode_basestring_ascii(str.__str__(value)))
    if isinstance(value, int):
        return f'["int","{int.__format__(value, "x")}"]'
    if isinstance(value, float):
        return f'["float","{float.hex(value)}"]'
    if isinstance(value, complex):
        return f'["complex","{float.hex(value.real)}","{float.hex(value.imag)}"]'
    if isinstance(value, (bytes, bytearray)):
        return f'["bytes","{bytes(value).hex()}"]'
    if isinstance(value, dict):
        return ",".join(['["dict"', *(f"{encode(k)},{encode(v)}" for k, v in dict.items(value))]) + "]"
    for tag, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return ",".join([f'["{tag}"', *map(encode, kind.__iter__(value))]) + "]"
    return f'["opaque",{encode_basestring_ascii(type(value).__name__)},{encode(bool(value))}]'


def decode(tree: Any) -> Any:
    """The value of what `encode` wrote, read as JSON. Raises ValueError where it did not write it."""
    if tree is None or isinstance(tree, (bool, str)):
        return tree
    try:
        tag, *parts = tree
        if tag in _SEQUENCES:
            return _SEQUENCES[tag](map(decode, parts))
        if tag == "dict":
            return dict(zip(map(decode, parts[::2]), map(decode, parts[1::2]), strict=True))
        if tag == "int":
            return int(parts[0], 16)
        if tag == "complex":
            return complex(*map(float.fromhex, parts))
        if tag == "opaque":
            return Opaque(str(parts[0]), parts[1] is True)
        return {"float": float.fromhex, "bytes": bytes.fromhex}[tag](parts[0])
    except (TypeError, KeyError, IndexError, OverflowError, RecursionError, ValueError) as error:
        raise ValueError("not plain data") from error


def frame(message: Any) -> bytes:
    """A message to a guest: its length, then marshalled plain data. Only ever read on the guest's side."""
    data = marshal.dumps(message, 4)
    return len(data).to_bytes(4, "little") + data


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
    with suppress(BaseException):  # a prompt may end in the middle of a function; a whole program needs none of it
        exec(compile(prelude, "<prompt>", "exec"), names)
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
            if name in sys.stdlib_module_names:
                return __import__(name)
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
        kind = getattr(builtins, parts[0], None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            kind = type(parts[0], (Exception,), {})
        raise kind.__new__(kind, parts[1])


def serve_tests(wire: _Wire) -> None:
    """Run tests against functions that live elsewhere, and say how it went."""
    prompt, tests, entry_point = wire.receive()
    names = _Names({"__name__": "tests"})
    names.wire, names.entry_point = wire, entry_point
    with suppress(BaseException):
        exec(compile(prompt, "<prompt>", "exec"), names)
    for name in [name for name, value in names.items() if name == entry_point or _is_stub(value)]:
        del names[name]
    candidate = names["candidate"] = names[entry_point]
    try:
        exec(compile(tests, "<tests>", "exec"), names)
        if "check" in names:
            names["check"](candidate)
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


if __name__ == "__main__":
    {"solution": serve_solution, "tests": serve_tests}[sys.argv[1]](_Wire())
