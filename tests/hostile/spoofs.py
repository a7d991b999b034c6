"""Wrong solutions of ``add(a, b)`` that try to pass all the same."""

_HEAD = "import builtins, gc, json, os, sys\n"
_RETURN = "def add(a, b):\n    return "

SPOOFS = {
    "exit_at_once": "os._exit(0)",
    "system_exit": "sys.exit(0)",
    "raise_system_exit": "raise SystemExit(0)",
    "exit_in_the_call": "def add(a, b):\n    os._exit(0)",
    "system_exit_in_the_call": "def add(a, b):\n    sys.exit(0)",
    "equal_to_everything": """
class Any:
    __eq__ = __ne__ = __lt__ = __le__ = __ge__ = __bool__ = lambda *_: True
    __hash__ = object.__hash__
    __sub__ = __rsub__ = __abs__ = __round__ = __float__ = lambda *_: 0.0
def add(a, b): return Any()
""",
    "equal_integer": """
class Any(int):
    __eq__ = __ge__ = __le__ = lambda *_: True
    __ne__ = lambda *_: False
    __hash__ = int.__hash__
    def __format__(self, _): return 'true'
    def __repr__(self): return '5'
def add(a, b): return Any(10**9)
""",
    "equal_text_and_list": """
class Text(str): __eq__ = lambda *_: True; __hash__ = str.__hash__
class List(list): __eq__ = lambda *_: True
def add(a, b): return List([Text('x')])
""",
    "mock_any": "from unittest.mock import ANY\ndef add(a, b): return ANY",
    "not_a_number": _RETURN + "float('nan')",
    "expected_values_from_frames": """
def add(a, b):
    found, frame = [], sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            found += [value] if type(value) is int else []
            found += [v for v in value if type(v) is int] if type(value) in (list, tuple) else []
        frame = frame.f_back
    return next((v for v in found if v not in (a, b, 0, 1)), None)
""",
    "expected_values_from_the_heap": """
def add(a, b):
    texts = [o for o in gc.get_objects() if isinstance(o, (list, dict, tuple))]
    for text in texts:
        for item in (text.values() if isinstance(text, dict) else text):
            if isinstance(item, str) and 'assert candidate' in item and 'texts' not in item:
                return int(item.split(f'candidate({a}, {b}) == ')[1].split()[0])
    return None
""",
    "expected_values_from_files": """
def add(a, b):
    for pid in ('self', '1', '2', str(os.getppid())):
        for name in ('cmdline', 'environ', 'fd/0', 'fd/3', 'fd/4', 'root/box/tests.json'):
            try:
                text = open(f'/proc/{pid}/{name}').read(65536)
            except OSError:
                continue
            if f'add({a}, {b}) == ' in text:
                return int(text.split(f'add({a}, {b}) == ')[1].split()[0])
""",
    "print_the_marker": """
for word in ('passed', 'ok', 'True', '[\"passed\"]', '1 passed in 0.01s'):
    print(word); print(word, file=sys.stderr)
def add(a, b): print('["passed"]'); return None
""",
    "write_the_protocol": """
for fd in range(16):
    for line in (b'["passed"]\\n', b'["loaded"]\\n', b'["value",true]\\n') * 4:
        try: os.write(fd, line)
        except OSError: pass
os._exit(0)
""",
    "answer_in_advance": """
for fd in range(16):
    try: os.write(fd, b'["value",["int","5"]]\\n' * 50)
    except OSError: pass
def add(a, b): return 5
""",
    "malformed_answers": """
for fd in range(16):
    try: os.write(fd, b'["loaded"]\\n["value",["set",["list"]]]\\n["value"]\\n[[[[[[' + b'[' * 9999 + b'\\n')
    except OSError: pass
""",
    "patch_the_guest": """
from filters import _guest, _plain
_plain.encode = _guest.encode = lambda value: '["opaque","Any",true]'
_plain.Opaque.__eq__ = lambda *_: True
def add(a, b): return None
""",
    "patch_the_wire": """
from filters import _guest
_guest._Wire.send = lambda self, *parts: os.write(self._replies, b'["passed"]\\n')
def add(a, b): return None
""",
    "patch_the_builtins": """
builtins.isinstance = lambda *_: True
builtins.AssertionError = SystemExit
builtins.compile = lambda *_: 'pass'
json.dumps = json.loads = lambda *_: True
def add(a, b): return None
""",
    "define_the_check": "def check(candidate): pass\nadd = check\ncandidate = lambda *_: 5",
    "raise_what_is_expected": "def add(a, b):\n    raise type('Equal', (Exception,), {'__eq__': lambda *_: True})()",
    "change_the_arguments": "def add(a, b):\n    a = b = 0\n    return a == b",
    "kill_everyone": "os.kill(1, 9); os.kill(os.getpid(), 9)\ndef add(a, b): return 0",
    "boolean": _RETURN + "True",
    "unprintable_number": _RETURN + "10 ** 100_000",
    "deep_list": """
def add(a, b):
    deep = []
    for _ in range(100_000): deep = [deep]
    return deep
""",
}

SPOOFS = {name: _HEAD + source for name, source in SPOOFS.items()}
