"""What a response must obey, as a program can check it: the constraint families of IFEval.

The families, their ids and their parameters are those of Zhou et al. 2023, "Instruction-Following Evaluation for Large
Language Models". Each function below is one of them and follows the published checker, but for two things: sentences
are counted by punctuation instead of by a trained model that would have to be downloaded, and what a detector cannot
decide is undecided instead of obeyed. A check says whether the text obeys (True, False, or None) and what it found.
"""

import json
import re
from collections.abc import Callable

from pydantic import validate_call

from filters._language import CONFIDENCE, detect

Found = tuple[bool | None, str]
Check = Callable[..., Found]

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w[\w'’-]*")
# Patterns start where nothing of theirs can stand before, or loops of their first sign would be searched from each.
_SENTENCE_END = re.compile(r"""(?<![.!?])[.!?]+["'”’)\]*_]*(?=\s|$)|[。！？।؟]+""")
# What ends in a full stop without ending a sentence: titles, initials, numbers of a list.
_ABBREVIATION = re.compile(
    r"\b(?:(?i:e\.g|i\.e|vs|cf|approx|mr|mrs|ms|dr|prof|st)|[A-Z])\.(?=\s)|\b(?i:no|fig|vol|p)\.(?=\s{0,2}\d)"
    r"|\b(?i:etc|inc|ltd|co|jr|sr)\.(?=\s{1,2}[a-z])|^[^\S\n]*\d{1,3}\.(?=\s)",
    re.MULTILINE,
)
_BULLET = re.compile(r"^[^\S\n]*(?:\*(?=[^*])|-)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*\]")
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _keywords_existence(text: str, keywords: list[str]) -> Found:
    missing = [word for word in keywords if word.lower() not in text.lower()]
    return not missing, f"without {', '.join(missing)}" if missing else "all there"


def _keywords_frequency(text: str, keyword: str, frequency: int, relation: str) -> Found:
    return _compared(text.lower().count(keyword.strip().lower()), relation, frequency, f"times {keyword!r}")


def _forbidden_words(text: str, forbidden_words: list[str]) -> Found:
    found = [word for word in forbidden_words if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]
    return not found, f"holds {', '.join(found)}" if found else "none there"


def _letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> Found:
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency, f"times the letter {letter}")


def _response_language(text: str, language: str) -> Found:
    return _in_language(text, language.partition("-")[0])


def _number_sentences(text: str, num_sentences: int, relation: str) -> Found:
    return _compared(count_sentences(text), relation, num_sentences, "sentences")


def _number_paragraphs(text: str, num_paragraphs: int) -> Found:
    first, *others = re.split(r"\s?\*\*\*\s?", text)
    inner, ends = others[:-1], [first, *others[-1:]]
    count = len(inner) + sum(bool(part.strip()) for part in ends)
    return count == num_paragraphs and all(part.strip() for part in inner), f"{count} paragraphs between ***"


def _number_words(text: str, num_words: int, relation: str) -> Found:
    return _compared(len(_WORD.findall(text)), relation, num_words, "words")


def _nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> Found:
    paragraphs = text.split("\n\n")
    count = sum(bool(part.strip()) for part in paragraphs)
    words = paragraphs[nth_paragraph - 1].split() if 0 < nth_paragraph <= count else []
    begins = re.split(r"[.,?!'\"]", words[0].lstrip("'\""), maxsplit=1)[0].lower() if words else ""
    obeys = count == num_paragraphs and begins == first_word.lower()
    return obeys, f"{count} paragraphs, the {nth_paragraph}. begins with {begins!r}"


def _number_placeholders(text: str, num_placeholders: int) -> Found:
    return _compared(len(_PLACEHOLDER.findall(text)), "at least", num_placeholders, "placeholders")


def _postscript(text: str, postscript_marker: str) -> Found:
    dotted = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    pattern = dotted.get(postscript_marker.strip(), re.escape(postscript_marker.strip().lower()))
    found = re.search(pattern, text.lower()) is not None
    return found, f"{'a' if found else 'no'} {postscript_marker}"


def _number_bullet_lists(text: str, num_bullets: int) -> Found:
    count = len(_BULLET.findall(text))
    return count == num_bullets, f"{count} bullets, wanted exactly {num_bullets}"


def _constrained_response(text: str) -> Found:
    found = [answer for answer in _ANSWERS if answer in text]
    return bool(found), found[0] if found else "none of the answers to choose from"


def _number_highlighted_sections(text: str, num_highlights: int) -> Found:
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part.strip("*").strip()]
    return _compared(len(single) + len(double), "at least", num_highlights, "highlighted sections")


def _multiple_sections(text: str, section_spliter: str, num_sections: int) -> Found:
    sections = re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)
    return _compared(len(sections), "at least", num_sections, f"times {section_spliter!r} with a number")


def _json_format(text: str) -> Found:
    inner = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        json.loads(inner)
    except (ValueError, RecursionError) as error:
        return False, f"no JSON: {error}"
    return True, "JSON"


def _title(text: str) -> Found:
    titles = [title for title in re.findall(r"<<([^<>\n]+)>>", text) if title.strip()]
    return bool(titles), f"<<{titles[0]}>>" if titles else "no title in << and >>"


def _two_responses(text: str) -> Found:
    parts = text.split("******")
    responses = [part.strip() for part in parts if part.strip()]
    obeys = len(responses) == 2 == len({*responses}) and all(part.strip() for part in parts[1:-1])
    return obeys, f"{len({*responses})} different responses between ******"


def _repeat_prompt(text: str, prompt_to_repeat: str) -> Found:
    obeys = text.strip().lower().startswith(prompt_to_repeat.strip().lower())
    return obeys, f"begins with {text.strip()[:40]!r}"


def _end_checker(text: str, end_phrase: str) -> Found:
    obeys = text.strip().strip('"').lower().endswith(end_phrase.strip().lower())
    return obeys, f"ends with {text.strip()[-40:]!r}"


def _capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> Found:
    count = sum(word.isupper() for word in _TOKEN.findall(text))
    return _compared(count, capital_relation, capital_frequency, "words in capitals")


def _english_capital(text: str) -> Found:
    return _english(text, text.isupper(), "letters that are not capitals")


def _english_lowercase(text: str) -> Found:
    return _english(text, text.islower(), "capital letters")


def _no_comma(text: str) -> Found:
    count = text.count(",")
    return not count, f"{count} commas"


def _quotation(text: str) -> Found:
    whole = text.strip()
    return len(whole) > 1 and whole[0] == whole[-1] == '"', f"begins {whole[:1]!r}, ends {whole[-1:]!r}"


_FAMILIES: dict[str, Check] = {
    "keywords:existence": _keywords_existence,
    "keywords:frequency": _keywords_frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
}
CHECKS: dict[str, Check] = {name: validate_call(check) for name, check in _FAMILIES.items()}
"""Constraint id to its check: the response, and the constraint's parameters by name. Raises ValueError for parameters
that do not fit, whatever the response."""


def count_sentences(text: str) -> int:
    """Sentences of a text: ends of sentences outside abbreviations and numbers; an unended last one counts."""
    plain = _ABBREVIATION.sub("", text).strip()
    ends = [match.end() for match in _SENTENCE_END.finditer(plain)]
    rest = plain[ends[-1] :] if ends else plain
    return len(ends) + bool(_WORD.search(rest))


def _compared(count: int, relation: str, wanted: int, what: str) -> Found:
    if relation not in ("at least", "less than"):
        raise ValueError(f"relation {relation!r}; expected 'at least' or 'less than'")
    obeys = count >= wanted if relation == "at least" else count < wanted
    return obeys, f"{count} {what}, wanted {relation} {wanted}"


def _english(text: str, case: bool, otherwise: str) -> Found:
    return _in_language(text, "en") if case else (False, otherwise)


def _in_language(text: str, language: str) -> Found:
    # To the detector, English in capitals is often German.
    found, probability = detect(text.lower())
    return None if found != language and probability < CONFIDENCE else found == language, f"in {found}"
