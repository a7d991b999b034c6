r"""Answers that stall, exhaust or confuse a symbolic library, and whether they are right.

Each case is (gold, answer, right). A right one must never be called different, a wrong one never equal; every
abstention is welcome. None of this is run as code.
"""

CANARY = "hostile_canary"

_digits = "123456789" * 22
_set = [str(n) for n in range(1, 301)]
_intervals = [f"[{2 * n},{2 * n + 1}]" for n in range(60)]
_matrix = r"\begin{pmatrix}" + r"\\".join(["&".join(["1"] * 20)] * 20) + r"\end{pmatrix}"


def _nest(opening: str, closing: str, depth: int, inside: str = "5") -> str:
    return opening * depth + inside + closing * depth


HUGE = [
    ("5", "9^{9^{9^9}}", False),
    ("9^{9^{9^9}}", "9^{9^{9^{9}}}", True),
    ("5", "10^{10^9}", False),
    ("10^{10^9}", r"10^{1000000000}", True),
    ("5", "2^{2^{2^{2^{2^2}}}}", False),
    ("5", "7^{10^{12}}", False),
    ("5", "10^{-10^9}", False),
    ("0", "10^{-10^{9}}", False),
    ("5", "1e999999", False),
    ("0", "1e-999999", False),
    ("5", r"\pi^{\pi^{\pi^{\pi^\pi}}}", False),
    ("5", "e^{e^{e^{79}}}", False),
    ("5", r"\sin(10^{10^6})", False),
    ("5", r"\sqrt[1000000007]{2^{1000000007}}", False),
    ("5", r"\log_{10}(10^{10^9})", False),
    ("1000000000", r"\log_{10}(10^{10^9})", True),
    ("5", r"10^{10^9} \bmod 7", False),
    ("2^{10^9}-1", "-1+2^{10^9}", True),
    ("5", "(10^9)!", False),
    ("(10^9)!", "(1000000000)!", True),
    ("5", "((10^3)!)!", False),
    ("5", "5!!!!!!", False),
    ("5", "1000000!", False),
    ("5", "!" * 800, False),
    ("5", r"\binom{10^9}{5 \cdot 10^8}", False),
    (r"\binom{10^9}{5 \cdot 10^8}", r"\binom{10^9}{500000000}", True),
    ("5", r"\binom{1000000}{500000}", False),
    ("5", r"\Gamma(10^9)", False),
    (r"\Gamma(10^9)", r"\Gamma(1000000000)", True),
    ("5", r"\prod_{k=1}^{10^9} k", False),
    ("5", r"\sum_{k=1}^{10^9} \frac{1}{k}", False),
    ("500000500000", r"\sum_{k=1}^{1000000} k", True),
    ("5", r"\sum_{i=1}^{10^5}\sum_{j=1}^{10^5} \frac{1}{i^j}", False),
    ("5", r"\int_0^{10^9} \sin(x^{x^x}) dx", False),
    ("5", r"\int e^{x^2}\sin(x^3)\log(x) dx", False),
    ("5", r"\lim_{x\to\infty} \frac{x!}{x^x}", False),
    ("5", r"\frac{d}{dx} x^{x^{x^{x^x}}}", False),
]
BIG_STRUCTURES = [
    (r"\{" + ",".join(_set) + r"\}", r"\{" + ",".join(reversed(_set)) + r"\}", True),
    (r"\{" + ",".join(_set) + r"\}", r"\{" + ",".join(_set[1:]) + r"\}", False),
    (",".join(_set), ", ".join(reversed(_set)), True),
    (r"\cup".join(_intervals), r"\cup ".join(reversed(_intervals)), True),
    (r"\cup".join(_intervals), r"\cup ".join(_intervals[1:]), False),
    ("400", "+".join(["1"] * 400), True),
    ("+".join(f"x_{{{n}}}" for n in range(150)), "+".join(f"x_{{{n}}}" for n in reversed(range(150))), True),
    ("5", "+".join(rf"\frac{{1}}{{{n}}}" for n in range(1, 120)), False),
    ("(x+1)^{1000}", "(1+x)^{1000}", True),
    ("(a+b+c+d)^{50}", "(d+c+b+a)^{50}", True),
    ("(x+y)^{300}", "(x+y)^{299}(x+y)", True),
    ("(x+y)^{300}", "(x-y)^{300}", False),
    ("x^{1000000}-1", "(x-1)(x+1)", False),
    ("x^{60}-1=0", "x^{60}=1", True),
    ("x^7+x^6-x^5+3x-8=0", "x^7+x^6-x^5+3x-9=0", False),
    (r"\sin x" + r"\sin x" * 60, r"(\sin x)^{61}", True),
    (r"\cos(\cos(\cos(\cos(\cos(x+1)))))", r"\cos(\cos(\cos(\cos(\cos(1+x)))))", True),
    (_matrix, _matrix.replace("1", "1.0"), True),
    (_matrix, _matrix.replace("1", "2"), False),
    (_matrix + "^{1000}", _matrix, False),
    ("1" + "0" * 1900, "10^{1900}", True),
    ("0", "0." + "0" * 1900 + "1", False),
    (_digits, _digits[:-1] + "8", False),
]
DEEP = [
    ("5", _nest("(", ")", 900), True),
    ("5", _nest("{", "}", 900), True),
    ("5", _nest(r"\left(", r"\right)", 130), True),
    ("5", "(" * 1500, False),
    ("5", "{" * 1500, False),
    ("5", "}" * 1500, False),
    ("5", r"\frac{1}{" * 180, False),
    ("5", _nest(r"\frac{1}{", "}", 180, "5"), True),
    ("6", _nest(r"\frac{1}{", "}", 180, "5"), False),
    (r"\frac{1+\sqrt{5}}{2}", _nest(r"1+\frac{1}{", "}", 120, "1"), False),
    ("5", _nest(r"\sqrt{", "}", 250, "2"), False),
    ("5", _nest(r"\{", r"\}", 300), False),
    ("5", _nest("|", "|", 700), True),
    ("5", _nest("2^{", "}", 300), False),
    ("x", _nest(r"\sin(", ")", 200, "x"), False),
    ("5", "-" * 1000 + "5", True),
    ("5", "1/" * 500 + "5", False),
    ("5", r"\text{" * 300 + "5" + "}" * 300, True),
    ("5", "x=" * 600 + "5", True),
    ("5", r"\begin{pmatrix}" * 80, False),
]
UNDEFINED = [
    ("5", r"\frac{0}{0}", False),
    ("5", r"\frac{1}{0}", False),
    ("5", r"\infty-\infty", False),
    ("5", "nan", False),
    ("nan", "5", False),
    (r"\frac{0}{0}", "5", False),
    (r"\infty", "+∞", True),
    ("5", "0^0", False),
    ("5", r"\log 0", False),
    ("5", r"\tan\frac{\pi}{2}", False),
]
INJECTIONS = [
    ("5", f"__import__('os').system('touch {CANARY}')", False),
    ("5", f"().__class__.__base__.__subclasses__()[0]('touch {CANARY}')", False),
    ("5", f"exec(\"open('{CANARY}','w')\")", False),
    ("5", f"$open('{CANARY}','w').write('x')$", False),
    ("5", "lambda: 0", False),
    ("5", "(lambda f: f(f))(lambda f: f(f))", False),
    ("5", r"\input{/etc/passwd}", False),
    ("5", rf"\immediate\write18{{touch {CANARY}}}", False),
    ("5", "{{7*7}}", False),
    ("5", "%s%n%n{0.__class__}", False),
    ("5", r"\def\x{\x\x}\x", False),
]
CHARACTERS = [
    ("5", "\0", False),
    ("5", "5\0", False),
    ("5", "\ud800", False),
    ("x+1", "1+x\udfff", False),
    ("5", "\u202e5", False),
    ("5", "a" + "\u0301" * 1500, False),
    ("5", "\x1b[2J", False),
    ("5", "👨‍👩‍👧‍👦" * 100, False),
    ("5", "\u2028\u2029\x85", False),
    ("5", "$" * 1500, False),
    ("5", "\\" * 1500, False),
    ("5", r"\frac" * 300, False),
    ("5", "^" * 1500, False),
    ("5", "_" * 1500, False),
    ("5", "," * 1500, False),
    ("5", "=" * 1500, False),
    ("5", "&" * 1500, False),
    ("5", " " * 1500 + "x", False),
    ("5", "word " * 160_000, False),
    ("5", "5" + " " * 800_000, True),
    ("5", "1" * 800_000, False),
]

HOSTILE = [*HUGE, *BIG_STRUCTURES, *DEEP, *UNDEFINED, *INJECTIONS, *CHARACTERS]
