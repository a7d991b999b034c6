"""Programs in model text: the one home of taking code out of fenced blocks.

Only blocks that are closed count: one that never closes was cut off. One pass over the lines, without patterns that
backtrack.
"""

import re
from collections.abc import Collection, Iterator


def fenced_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Tag (lower case, empty where there is none) and content of every closed fenced block, in order."""
    fence, tag, indent = "", "", 0
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        marks = bare[: len(bare) - len(bare.lstrip(bare[0]))] if bare[:3] in ("```", "~~~") else ""
        if not fence and marks and "`" not in bare[len(marks) :]:
            words = bare[len(marks) :].lower().split()
            fence, tag, lines = marks, words[0].strip("{}.") if words else "", []
            indent = len(line) - len(line.lstrip())
        elif fence and marks.startswith(fence) and bare == marks:
            yield tag, "".join(lines)
            fence = ""
        elif fence:
            lines.append(line.removeprefix(line[:indent]) if not line[:indent].strip() else line)


def program_in(response: str, tags: Collection[str], name: str | None = None) -> str | None:
    """The program that a response ends with, or None.

    Args:
        response: Text with fenced code blocks.
        tags: How the language is called. A block of another language is never taken; one without a tag is if no
            block has the right one.
        name: A function or class that the program must define. The last block that does is taken before later
            ones, which only show its use.
    """
    blocks = [(tag, code) for tag, code in fenced_blocks(response) if code.strip()]
    candidates = [code for tag, code in blocks if tag in tags] or [code for tag, code in blocks if not tag]
    defining = [code for code in candidates if name and defines(code, name)]
    return (defining or candidates)[-1] if candidates else None


def defines(code: str, name: str) -> bool:
    """True where Python code defines a name at its top level."""
    word = re.escape(name)
    return re.search(rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{word}\b|^{word}[ \t]*[:=]", code, re.MULTILINE) is not None
