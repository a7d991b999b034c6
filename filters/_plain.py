"""The plain data that crosses a sandbox's wall, with its types, and never as objects of the other side.

Numbers, text, bytes, None, containers of them, and iterators as what they yield. Outward it is JSON, which the caller
reads without believing; inward it is marshalled, which only guests read. Runs on both sides; few imports, since each
costs milliseconds in every run.
"""

import marshal
from _json import encode_basestring_ascii

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would cost as much as all the rest
    from typing import Any
else:
    Any = object

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
    if hasattr(type(value), "__next__"):
        return ",".join(['["iterator"', *map(encode, value)]) + "]"
    return f'["opaque",{encode_basestring_ascii(type(value).__name__)},{encode(bool(value))}]'


def decode(tree: Any) -> Any:
    """The value of what `encode` wrote, read as JSON. Raises ValueError where it did not write it."""
    if tree is None or isinstance(tree, (bool, str)):
        return tree
    try:
        tag, *parts = tree
        if tag in _SEQUENCES:
            return _SEQUENCES[tag](map(decode, parts))
        if tag == "iterator":
            return iter([decode(part) for part in parts])
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
