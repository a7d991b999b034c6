"""What TeX's commands look like: signs, accents, alphabets. Data only; `maths` reads with it."""

from collections.abc import Sequence
from html.entities import html5

SIGNS = {
    "cdot": "⋅", "cdots": "⋯", "ldots": "…", "dots": "…", "dotsb": "⋯", "dotsc": "…", "vdots": "⋮", "ddots": "⋱",
    "circ": "∘", "neq": "≠", "to": "→", "gets": "←", "infty": "∞", "partial": "∂", "exists": "∃", "neg": "¬",
    "lnot": "¬", "land": "∧", "lor": "∨", "implies": "⟹", "impliedby": "⟸", "triangle": "△", "square": "□", "Box": "□",
    "qed": "∎",
    "blacksquare": "■", "star": "⋆", "bullet": "∙", "degree": "°", "colon": ":", "iint": "∬", "lt": "<", "gt": ">",
    "lvert": "|", "rvert": "|", "lVert": "‖", "rVert": "‖", "lbrack": "[", "rbrack": "]", "backslash": "\\",
    "phi": "ϕ", "varphi": "φ", "epsilon": "ϵ", "varepsilon": "ε",
    "{": "{", "}": "}", "|": "‖", "%": "%", "$": "$", "#": "#", "&": "&", "_": "_",
}  # fmt: skip
"""Commands whose sign is not the one that HTML gives the same name."""
NO_SIGNS = {"not", "dot", "tilde", "check", "breve", "acute", "grave", "macr", "quot", "Tab", "NewLine", "nbsp"}
"""Names that HTML gives to other things than TeX."""
FUNCTIONS = {
    "arccos", "arcsin", "arctan", "arg", "cos", "cosh", "cot", "coth", "csc", "deg", "det", "dim", "exp", "gcd", "hom",
    "inf", "ker", "lcm", "lg", "lim", "liminf", "limsup", "ln", "log", "max", "min", "mod", "Pr", "sec", "sin", "sinh",
    "sup", "tan", "tanh",
}  # fmt: skip
LIMITS = {
    "∑", "∏", "⋃", "⋂", "⨁", "∐", "lim", "liminf", "limsup", "max", "min", "sup", "inf", "gcd", "lcm", "Pr", "det",
}  # fmt: skip
"""What has its scripts below and above it."""
SPACES = {",": 0.17, ":": 0.22, ";": 0.28, "!": 0, " ": 0.25, "quad": 1, "qquad": 2, "enspace": 0.5}
"""In em."""
ACCENTS = {
    "hat": "^", "widehat": "^", "bar": "¯", "overline": "¯", "vec": "→", "overrightarrow": "→", "tilde": "~",
    "dot": "˙", "widetilde": "~", "ddot": "¨", "overbrace": "⏞", "overarc": "⌒", "overleftrightarrow": "↔",
}  # fmt: skip
BELOW = {"underline": "_", "underbrace": "⏟"}
ALPHABETS = {"mathbb": "opf", "mathcal": "scr", "mathscr": "scr", "mathfrak": "fr"}
"""And what HTML's names of their letters end in."""
BOLD = {"mathbf", "boldsymbol", "bm", "bold", "pmb"}
TEXTS = {
    "text", "textbf", "textit", "textrm", "textnormal", "textup", "texttt", "textsf", "mbox", "hbox", "tag", "mathrm",
    "mathsf", "mathit", "mathtt", "operatorname", "operatorname*",
}  # fmt: skip
SILENT = {
    "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "hline", "rm", "bf", "it", "nonumber", "notag",
    "allowbreak", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr",
    "middle", "protect", "relax",
}  # fmt: skip
"""What only says how large or where something is set."""
FENCES: dict[str, Sequence[str]] = {
    "pmatrix": "()", "bmatrix": "[]", "Bmatrix": "{}", "vmatrix": "||", "Vmatrix": "‖‖",
    "cases": ("{", ""),
}  # fmt: skip
BRACKETS = set("()[]{}|‖⟨⟩⌊⌋⌈⌉")


def sign_of(token: str) -> str | None:
    """The sign of a token; None where it has none."""
    if not token.startswith("\\"):
        return token
    name = token[1:]
    found = SIGNS.get(name) or (None if name in NO_SIGNS else html5.get(f"{name};"))
    return found if found and len(found) == 1 else None
