"""What TeX's commands look like: signs, accents, alphabets. Data only; `maths` reads with it."""

from collections.abc import Sequence
from html.entities import html5

SIGNS = {
    "cdot": "⋅", "cdots": "⋯", "ldots": "…", "dots": "…", "dotsb": "⋯", "dotsc": "…", "dotsm": "⋯",
    "dotsi": "⋯", "dotso": "…", "hdots": "…", "vdots": "⋮", "ddots": "⋱",
    "circ": "∘", "neq": "≠", "to": "→", "gets": "←", "infty": "∞", "partial": "∂", "exists": "∃", "neg": "¬",
    "lnot": "¬", "land": "∧", "lor": "∨", "implies": "⟹", "impliedby": "⟸", "triangle": "△", "square": "□", "Box": "□",
    "qed": "∎", "surd": "√", "leadsto": "⇝", "sphericalangle": "∢", "coloneqq": "≔", "lll": "⋘", "pounds": "£",
    "S": "§", "R": "ℝ", "Q": "ℚ", "Z": "ℤ", "N": "ℕ", "C": "ℂ", "celsius": "℃", "textdegree": "°",
    "blacksquare": "■", "star": "⋆", "bullet": "∙", "degree": "°", "colon": ":", "iint": "∬", "lt": "<", "gt": ">",
    "lvert": "|", "rvert": "|", "lVert": "‖", "rVert": "‖", "lbrack": "[", "rbrack": "]", "backslash": "\\",
    "phi": "ϕ", "varphi": "φ", "epsilon": "ϵ", "varepsilon": "ε",
    "{": "{", "}": "}", "|": "‖", "%": "%", "$": "$", "#": "#", "&": "&", "_": "_",
}  # fmt: skip
"""Commands whose sign is not the one that HTML gives the same name."""
NO_SIGNS = {"not", "dot", "tilde", "check", "breve", "acute", "grave", "macr", "quot", "Tab", "NewLine", "nbsp"}
"""Names that HTML gives to other things than TeX."""
FUNCTIONS = {
    "arccos", "arcctg", "arcsin", "arctan", "arctg", "arg", "argmax", "argmin", "cos", "cosec", "cosh", "cot", "coth",
    "csc", "csch", "ctg", "deg", "det", "dim", "exp", "gcd", "hom", "inf", "ker", "lcm", "lg", "lim", "liminf",
    "limsup", "ln", "log", "max", "min", "mod", "Pr", "rank", "sec", "sech", "sgn", "sin", "sinh", "sup", "tan", "tanh",
    "tg", "tr", "Tr",
}  # fmt: skip
LIMITS = {
    "∑", "∏", "⋃", "⋂", "⨁", "∐", "lim", "liminf", "limsup", "max", "min", "sup", "inf", "gcd", "lcm", "Pr", "det",
    "argmax", "argmin", "overbrace", "underbrace",
}  # fmt: skip
"""What has its scripts below and above it."""
SPACES = {
    ",": 0.17, ":": 0.22, ">": 0.22, ";": 0.28, "!": 0, " ": 0.25, "quad": 1, "qquad": 2, "enspace": 0.5,
    "thinspace": 0.17, "medspace": 0.22, "thickspace": 0.28, "negthinspace": 0, "negmedspace": 0, "negthickspace": 0,
}  # fmt: skip
"""In em."""
ACCENTS = {
    "hat": "^", "widehat": "^", "bar": "¯", "vec": "→", "overrightarrow": "→", "tilde": "~",
    "dot": "˙", "widetilde": "~", "ddot": "¨", "dddot": "⃛", "overbrace": "⏞", "overarc": "⌒", "wideparen": "⌒",
    "overleftrightarrow": "↔", "overleftarrow": "←", "mathring": "˚", "check": "ˇ", "breve": "˘", "acute": "´",
    "grave": "`",
}  # fmt: skip
BELOW = {"underbrace": "⏟"}
ARROWS = {"xrightarrow": "⟶", "xleftarrow": "⟵", "xlongequal": "=", "xRightarrow": "⟹"}
"""What has words above it, and below it in brackets."""
INFIX = {"over": "", "atop": "", "choose": "()", "brace": "{}", "brack": "[]"}
"""What stands between the two halves of a fraction, and the brackets around it."""
LINES = {"boxed", "fbox", "overline", "underline", "cancel", "bcancel", "xcancel"}
"""What is drawn around, above, below or through something: classes of the style sheet."""
ALPHABETS = {
    "mathbb": "opf", "mathcal": "scr", "mathscr": "scr", "mathfrak": "fr", "Bbb": "opf", "cal": "scr", "frak": "fr",
    "mathds": "opf", "mathbbm": "opf",
}  # fmt: skip
"""And what HTML's names of their letters end in."""
BOLD = {"mathbf", "boldsymbol", "bm", "bold", "pmb"}
TEXTS = {
    "text", "textbf", "textit", "textrm", "textnormal", "textup", "texttt", "textsf", "textsc", "emph", "mbox", "hbox",
    "tag", "tag*", "mathrm", "mathsf", "mathit", "mathtt", "operatorname", "operatorname*",
}  # fmt: skip
SILENT = {
    "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "hline", "rm", "bf", "it", "nonumber", "notag",
    "allowbreak", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr",
    "middle", "protect", "relax", "displaylimits", "scriptscriptstyle", "sf", "tt", "sl", "mathstrut", "strut",
    "noindent", "centering", "tiny", "small", "normalsize", "large", "Large", "LARGE", "nolinebreak", "xspace",
}  # fmt: skip
"""What only says how large or where something is set."""
PLAIN = {
    "mathop", "mathrel", "mathbin", "mathord", "mathopen", "mathclose", "mathpunct", "mathinner", "mathnormal",
    "ensuremath", "smash",
}  # fmt: skip
"""What only says how its argument is spaced."""
UNSEEN = {"label", "cline", "vspace", "vspace*", "vphantom", "hdotsfor", "color", "require"}
"""What is not drawn, nor is its argument."""
COLUMNS = {"array", "alignat", "alignat*", "alignedat", "subarray"}
"""Environments whose columns are named first."""
FENCES: dict[str, Sequence[str]] = {
    "pmatrix": "()", "bmatrix": "[]", "Bmatrix": "{}", "vmatrix": "||", "Vmatrix": "‖‖",
    "cases": ("{", ""), "dcases": ("{", ""), "rcases": ("", "}"),
}  # fmt: skip
BRACKETS = set("()[]{}|‖⟨⟩⌊⌋⌈⌉")


def sign_of(token: str) -> str | None:
    """The sign of a token; None where it has none."""
    if not token.startswith("\\"):
        return token
    name = token[1:]
    found = SIGNS.get(name) or (None if name in NO_SIGNS else html5.get(f"{name};"))
    return found if found and len(found) == 1 else None
