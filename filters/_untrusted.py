"""Showing model text to another model: bounded, and unable to pass for an instruction, a delimiter or a turn of a chat.

The text stays readable and otherwise as it is. This does not detect attempts; what is persuaded by plain words is the
business of the prompt around it, and of votes.
"""

import re

CUT = "\n[…]\n"

# A server's tokenizer reads these as the end of a turn, wherever they stand: <|im_end|>, <｜User｜>, </s>, [/INST].
_CHAT = re.compile(r"<(?=[|｜]|/?(?:s|bos|eos|think|start_of_turn|end_of_turn|SYS)>)|\[(?=/?[A-Z][A-Z_]{2,30}\])")
_TAG = re.compile(r"<(?=/?[A-Za-z])")
_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without what JSON, Arrow or a terminal cannot take: control characters and lone surrogates."""
    return _UNSENDABLE.sub("\ufffd", text)


def defused(text: str) -> str:
    """The text with a space inside everything that chat templates and tokenizers give a meaning to."""
    return _CHAT.sub(lambda sign: sign[0] + " ", clean(text))


def quoted(tag: str, text: str, max_chars: int) -> str:
    """The text between ``<tag>`` and ``</tag>``, which it cannot close; the middle of a longer one is left out."""
    text = _TAG.sub("< ", defused(bounded(text, max_chars)))
    return f"<{tag}>\n{text}\n</{tag}>"


def bounded(text: str, max_chars: int) -> str:
    """At most ``max_chars`` characters of the text: its head and its tail, where answers are."""
    if len(text) <= max_chars:
        return text
    half = max(max_chars - len(CUT), 0) // 2
    return text[:half] + CUT + text[len(text) - half :]
