"""The final answer that a response states. The one home of this question.

The reasoning is not searched, and nothing here decides whether two answers are equal; see `filters._notation` for
one spelling and `filters.verify_math` for mathematics. Model text is untrusted: it is searched with patterns that
run in linear time and is never evaluated.
"""

import re

from filters._notation import canonical_answer

__all__ = ["boxed_answers", "canonical_answer", "extract_answer"]

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BETWEEN_BOXES = re.compile(r"[\s$,;&.]{0,6}(?:and|or|\\text\{\s*(?:and|or)\s*\}|\\quad)?[\s$,;&.]{0,6}")
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_WORD = "A|answer|Antwort|réponse|respuesta|risposta|resposta|ответ|答案|答え|答|정답|답"
_LABEL = re.compile(
    rf"^[ \t>*_#]*(?:final[ \t]+)?(?:{_WORD})\"?[ \t*_]*[:：][ \t*_]*(\S[^\n]*)$", re.MULTILINE | re.IGNORECASE
)
_SENTENCE = re.compile(
    # Rare letters come first: this is searched in texts of 20,000 characters that hold no answer.
    r"(?:nswer(?<=\b[Aa]nswer)[ \t]{1,4}is|NSWER[ \t]{1,4}IS|答案(?:[是为為]|等于|(?=[:：]))|答えは|정답은)"
    r"[ \t]{0,4}[:：]?[ \t*_]{0,8}([^\s:：][^\n]*)"
)
_SENTENCE_END = re.compile(r"[.!?](?:[\s\"']|$)|[。！？]")
_JSON = re.compile(r'"(?:final_)?answer"\s*:\s*(?:"((?:[^"\\]++|\\.)*+)"|(-?\d[\d.,]*|\[[^\]\n]*\]))', re.DOTALL)
_NUMERIC_LINE = re.compile(r"[-+$\\(]*\d[\d.,/ %)]*")


def extract_answer(text: str) -> str | None:
    r"""The final answer that a response states, or None if it states none.

    Looks for, in this order: the last ``\boxed{…}`` (neighbouring boxes are one answer), ``#### 18``, a line
    ``A: 18`` or ``Answer: 18``, "the answer is 18", and JSON ``"answer": "18"``. Of several in one style, the
    last counts. Prose in front of a JSON answer is the reasoning of that JSON object and is not searched. A number
    somewhere in the text is not an answer.
    """
    json_answer, json_end = _json(text)
    for find in (_boxed, _hashes):
        if answer := (find(text) or "").strip():
            return answer
    for find in (_label, _sentence):
        if answer := (find(text[json_end:]) or "").strip():
            return answer
    return json_answer.strip() or None


def boxed_answers(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every complete box, in order. Boxes that never close are left out."""
    boxes: list[tuple[int, int, str]] = []
    for match in _BOXED.finditer(text):
        if boxes and match.start() < boxes[-1][1]:
            continue  # a box within a box
        end = _closing_brace(text, match.end())
        if end is not None:
            boxes.append((match.start(), end + 1, text[match.end() : end]))
    return boxes


_MAX_BOX_CHARS = 20_000
"""Where a box has not closed after this many characters, it never closed: bounds the search on hostile text."""


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start, start + _MAX_BOX_CHARS):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _boxed(text: str) -> str | None:
    starts = [m.start() for m in _BOXED.finditer(text)][-16:]
    boxes = boxed_answers(text[starts[0] :]) if starts else []
    if not boxes:
        return None
    offset, answers = starts[0], [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if not _BETWEEN_BOXES.fullmatch(text, offset + box[1], offset + answers[0][0]):
            break
        answers.insert(0, box)
    contents = list(dict.fromkeys(content.strip() for _, _, content in answers))
    first = offset + answers[0][0]
    escaped = len(text[:first]) - len(text[:first].rstrip("\\"))
    joined = ", ".join(contents)
    # Inside a JSON string every backslash of LaTeX is doubled.
    return joined.replace("\\\\", "\\") if escaped % 2 else joined


def _hashes(text: str) -> str | None:
    matches = _HASHES.findall(text)
    if not matches:
        return None
    last_line = text.rstrip().rpartition("\n")[2].lstrip()
    # "#### Step 3" is a Markdown heading; GSM8K's mark ends the text or carries a bare number.
    is_mark = last_line.startswith("####") or _NUMERIC_LINE.fullmatch(matches[-1].strip())
    return str(matches[-1]) if is_mark else None


def _label(text: str) -> str | None:
    matches = _LABEL.findall(text)
    return _bare(matches[-1]) if matches else None


def _sentence(text: str) -> str | None:
    matches = _SENTENCE.findall(text)
    return _bare(_SENTENCE_END.split(matches[-1], maxsplit=1)[0]) if matches else None


def _json(text: str) -> tuple[str, int]:
    """The last JSON answer and where it ends; an empty one and 0 if there is none."""
    matches = list(_JSON.finditer(text))
    if not matches:
        return "", 0
    string, literal = matches[-1].groups()
    # Models write LaTeX into JSON with and without doubling the backslash; both must read the same.
    return literal or re.sub(r'\\([\\"])', r"\1", string).replace("\\n", "\n"), matches[-1].end()


def _bare(answer: str) -> str:
    return answer.strip().strip("*_`").rstrip(",;").strip().strip('"`').strip()
