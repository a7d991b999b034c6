"""Foreign sentences are found; mathematics, code, names, quotations and odd English are not foreign."""

import random
import sys
from itertools import permutations
from pathlib import Path
from time import monotonic

import polars as pl
import pytest
from bench.corpus import frames
from hypothesis import given
from hypothesis import strategies as st

from filters import FilterError
from filters._foreign import letters_in, sentences_of
from filters._language import LANGUAGES, UNDECIDED, languages_of
from filters.format import Format
from filters.language_mix import LanguageMix

ENGLISH = "First we add the two numbers and see what is left. Then the rest of the problem is easy to solve. " * 5
SENTENCES = {
    "ar": "لذلك وجدنا أن مجموع العددين يساوي أربعين، وهذا هو الجواب الذي كنا نبحث عنه.",
    "bg": "Следователно намерихме, че сборът на двете числа е равен на четиридесет, което трябваше да се докаже.",
    "de": "Wir haben also gefunden, dass die Summe der beiden Zahlen gleich vierzig ist, wie es sein sollte.",
    "en": "So we have found that the sum of the two numbers is equal to forty, as it should be.",
    "es": "Entonces la suma de los dos números es igual a cuarenta, como queríamos demostrar.",
    "fa": "بنابراین دیدیم که مجموع این دو عدد برابر با چهل است و این همان جوابی است که می‌خواستیم.",
    "fr": "Nous avons donc trouvé que la somme des deux nombres est égale à quarante, comme prévu.",
    "hi": "इसलिए हमने पाया कि दोनों संख्याओं का योग चालीस के बराबर है और यही हमारा उत्तर है।",
    "id": "Jadi kita telah menemukan bahwa jumlah dari dua angka itu adalah sama dengan empat puluh.",
    "it": "Allora abbiamo trovato che la somma dei due numeri è uguale a quaranta, come previsto.",
    "ja": "したがって、二つの数の和は四十に等しいことが分かりました。これが求める答えです。",
    "ko": "그러므로 두 수의 합은 마흔과 같다는 것을 알았고, 이것이 우리가 찾던 답입니다.",
    "mr": "म्हणून आपल्याला आढळले की दोन्ही संख्यांची बेरीज चाळीस आहे आणि हे आपले उत्तर आहे.",
    "pt": "Então encontramos que a soma dos dois números é igual a quarenta, como deveria ser.",
    "ru": "Значит, мы нашли, что сумма этих двух чисел равна сорока, что и требовалось доказать.",
    "th": "ดังนั้นเราพบว่าผลรวมของจำนวนทั้งสองเท่ากับสี่สิบ ซึ่งเป็นคำตอบที่เราต้องการ",
    "tr": "Böylece bu iki sayının toplamı kırka eşit olduğunu bulduk, ki bu da aradığımız cevap.",
    "uk": "Отже, ми знайшли, що сума цих двох чисел дорівнює сорока, що й треба було довести.",
    "vi": "Vậy chúng ta đã tìm được rằng tổng của hai số bằng bốn mươi, như yêu cầu của đề bài.",
    "zh": "因此我们发现这两个数的和等于四十，这就是我们要找的答案。",
}
LATIN = ("de", "es", "fr", "id", "it", "pt", "tr", "vi")
CONFUSION = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "tr", "vi", "zh")


def rows(reasoning, problem="What is the sum of the two numbers?"):
    texts = [reasoning] if isinstance(reasoning, str) else reasoning
    return pl.DataFrame({"problem": problem, "reasoning": texts, "response": r"\boxed{4}"}, strict=False)


def judge(reasoning, language="problem", problem="What is the sum of the two numbers?", **parameters):
    return rows(reasoning, problem).select(LanguageMix(language=language, **parameters).verdict()).item()


@pytest.mark.parametrize("place", ["line", "sentence", "end"])
@pytest.mark.parametrize("detector", ["langdetect", "pycld2"])
def test_a_planted_sentence_of_any_language_is_found(place, detector):
    pytest.importorskip(detector)
    planted = {code: sentence for code, sentence in SENTENCES.items() if code != "en"}
    form = {"line": "{0}\n{1}\n{0}", "sentence": "{0} {1} {0}", "end": "{0} {1}"}[place]
    frame = rows([form.format(ENGLISH, sentence) for sentence in planted.values()])
    for code, verdict in zip(planted, frame.select(LanguageMix(detector=detector).verdict()).to_series(), strict=True):
        assert verdict["reason"] == ("foreign_language" if code in LATIN else "foreign_script"), code
        assert any(word in verdict["evidence"] for word in planted[code].strip(".。").split()), code


def test_every_language_is_its_own_and_foreign_to_every_other():
    pairs = list(permutations(SENTENCES, 2))
    for language, own in SENTENCES.items():
        others = [other for target, other in pairs if target == language]
        text = f"{own}\n" * 3
        frame = rows([text, *(f"{text}{SENTENCES[other]}\n{text}" for other in others)])
        outcomes = frame.select(LanguageMix(language=language).verdict()).to_series().struct.field("outcome").to_list()
        assert outcomes[0] == "keep", language
        missed = [other for other, outcome in zip(others, outcomes[1:], strict=True) if outcome != "reject"]
        assert not missed, f"in {language}"


def test_every_language_of_the_data_is_known():
    assert set(CONFUSION) <= set(LANGUAGES)
    assert languages_of(pl.Series(SENTENCES.values())).to_list() == list(SENTENCES)


@pytest.mark.parametrize(
    "text",
    [
        "Ones: 9 times 6 is 54, write 4 carry 5. Tens: 5 times 6 is 30, plus carry 5 is 35.",
        r"Let $\alpha + \beta = \gamma$ and αβγ ≤ ∑ℝ. Then \(\int f\,dx\) converges.",
        "```python\nfor число in range(3): print('привет, мир и все остальные')\n```",
        "The French word “chat échaudé” and the German 'Zeitgeist' are quoted. She said «bonjour à tous».",
        "Li Ming (李明) and Chebyshev (Пафнутий Чебышёв) have three apples, and Señor Müller from Łódź has two.",
        "square feet square feet square feet square feet square feet square feet square feet",
        "cos x cos y cos z cos x sin y sin z, sin x sin y cos z + cos x cos y sin z",
        "Milk eggs bread butter cheese sugar flour apples pears",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "x y z a b c d e i o u y e a o",
        "",
        "42",
    ],
)
def test_english_mathematics_is_kept(text):
    assert judge(text)["outcome"] == "keep"


def test_a_long_quotation_is_mixing():
    assert judge(f"{ENGLISH}“{SENTENCES['fr'] * 3}”")["reason"] == "foreign_language"


@pytest.mark.parametrize(
    "text", ["It costs $5. {} It costs $6.", r"\( x. {}" + "\n" + r"\( y \)", r"\[ x." + "\n\n{}\n\n" + r"\[ y \]"]
)
def test_what_looks_like_an_opening_formula_hides_nothing(text):
    assert judge(ENGLISH + text.format(SENTENCES["zh"]))["reason"] == "foreign_script"
    assert judge(ENGLISH + text.format(SENTENCES["fr"]))["reason"] == "foreign_language"


def test_prose_in_a_block_is_no_code():
    chinese = SENTENCES["zh"] * 9
    assert judge(f"```python\n# {chinese}\n```")["outcome"] == "keep"
    assert judge(f'```json\n{{"reasoning": "{chinese}"}}\n```')["reason"] == "foreign_script"
    assert judge(f'```json\n{{"reasoning": "{chinese}')["reason"] == "foreign_script"
    assert judge(f"```markdown\n{SENTENCES['fr']}\n```")["reason"] == "foreign_language"


def test_a_name_of_the_problem_is_no_mixing():
    text = ENGLISH + "So 小明 has two apples and 小红 has three. " * 3
    assert judge(text)["reason"] == "foreign_script"
    assert judge(text, problem="How many apples do 小明 and 小红 have?")["outcome"] == "keep"


@pytest.mark.parametrize(
    ("problem", "reasoning", "expected"),
    [
        (SENTENCES["zh"], SENTENCES["zh"], "keep"),
        (SENTENCES["zh"], SENTENCES["en"], "foreign_language"),
        (SENTENCES["zh"], f"{SENTENCES['zh']} 设 x = 3，则 f(x) = 9, sin x + cos x.", "keep"),
        (SENTENCES["en"], SENTENCES["zh"], "foreign_script"),
        (SENTENCES["pt"], SENTENCES["es"], "foreign_language"),
        ("$x^2 = 4$", SENTENCES["zh"], "keep"),  # a formula has no language: the trajectory's own is taken
        ("$x^2 = 4$", f"{ENGLISH} {SENTENCES['zh']}", "foreign_script"),
        ("$x^2 = 4$", "$x = 2$", "keep"),
        (None, SENTENCES["en"], "unknown_language"),
        (
            "Quants nombres enters positius més petits que cent són divisibles per tres?",
            "Trenta-tres",
            "unknown_language",
        ),
    ],
)
def test_the_target_is_the_language_of_the_problem(problem, reasoning, expected):
    verdict = judge(reasoning, problem=problem)
    assert (verdict["reason"] or verdict["outcome"]) == expected


def test_a_fixed_language_needs_no_problem():
    frame = pl.DataFrame({"reasoning": [SENTENCES["zh"]] * 2, "response": ["42", None]})
    verdicts = frame.select(LanguageMix(language="zh").verdict()).to_series()
    assert [v["reason"] or v["outcome"] for v in verdicts] == ["keep", "missing_input"]


def test_verdicts_do_not_depend_on_the_librarys_global_seed():
    import langdetect

    text = f"{ENGLISH}\nLes fenêtres étaient closes, les rideaux tirés."
    langdetect.DetectorFactory.seed = None
    assert [judge(text) for _ in range(3)] == [judge(text)] * 3


@pytest.mark.parametrize("seed", range(3))
def test_garbage_after_a_correct_answer(seed):
    generator = random.Random(seed)
    blocks = [(0x61, 0x7A), (0x4E00, 0x9FFF), (0x410, 0x44F), (0xAC00, 0xD7A3), (0x627, 0x64A), (0x905, 0x939)]
    tokens = [
        "".join(chr(generator.randint(*block)) for _ in range(generator.randint(1, 6)))
        for block in generator.choices(blocks, k=2500)
    ]
    multilingual = r"The answer is \boxed{4}." + " ".join(tokens)
    ascii_only = r"The answer is \boxed{4}." + " ".join(token for token in tokens if token.isascii()) * 6
    frame = pl.DataFrame({"problem": "How many?", "reasoning": ENGLISH, "response": [multilingual, ascii_only]})
    frame = frame.with_columns(finish_reason=pl.lit("stop")).with_columns(LanguageMix().verdict(), Format().verdict())
    assert frame["verdict_language_mix"][0]["reason"] == "foreign_script"
    assert [v["reason"] for v in frame["verdict_format"]] == ["text_after_answer"] * 2


def test_every_planted_defect_of_the_corpus_is_found():
    rows = pl.concat(frames(500)).with_columns(LanguageMix().verdict())
    rejected = rows.filter(pl.col("verdict_language_mix").struct.field("outcome") != "keep")["planted"]
    planted = rows.filter(pl.col("planted").str.contains("foreign|garbage"))["planted"]
    assert planted.n_unique() > 3
    assert rejected.to_list() == planted.to_list()


@pytest.mark.parametrize(
    "loop", [r"\( `a` ", '\\[ "a" ', "$$ `a` ", "$a ", "“a", "`a` ```", "```json ", "所以 the ", "la que una "]
)
def test_loops_of_a_model_take_linear_time(loop):
    begin = monotonic()
    judge(loop * 20_000)
    assert monotonic() - begin < 15  # they take less than one; a quadratic search takes many times that


def test_a_detector_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycld2", None)
    LanguageMix().check_ready()
    with pytest.raises(FilterError, match="pip install pycld2"):
        LanguageMix(detector="pycld2").check_ready()


@given(st.text(st.sampled_from("aé中かк ا1$.!?。\n\t-’☃"), max_size=80))
def test_letters_are_counted_as_one_by_one(text):
    sentences = sentences_of(pl.Series([text]))
    assert letters_in(sentences).item() == sum(c.isalpha() for c in text)


# ------------------------------------------------------------------------------------------------------- real data


def test_no_english_solution_is_rejected(shared_data):
    solutions = [
        pl.read_ndjson(shared_data / f"problems/{name}.jsonl").select("problem", response="solution")
        for name in ("gsm8k_train", "gsm8k_test", "math500")
    ] + [
        pl.read_ndjson(shared_data / f"trajectories/{name}.jsonl").select("problem", "response")
        for name in ("gsm8k_gpt3", "zeroeval", "dsmath_v2_proofs")
    ]
    judged = pl.concat(solutions).with_columns(
        LanguageMix().verdict(), LanguageMix(language="en").verdict().alias("en")
    )
    rejected = judged.filter(
        pl.any_horizontal(pl.col(c).struct.field("outcome") != "keep" for c in ("verdict_language_mix", "en"))
    )
    assert judged.height > 16_000
    assert rejected.is_empty(), rejected.rows()


def test_the_language_of_real_problems(shared_data):
    for name in ("gsm8k_test", "math500", "college_math", "olymmath_en_easy", "ifeval", "olymmath_zh_easy", "cmath_zh"):
        file = pl.read_ndjson(shared_data / f"problems/{name}.jsonl")
        languages = languages_of(file["problem" if "problem" in file.columns else "prompt"])
        assert set(languages) <= ({"zh"} if "zh" in name else {"en", UNDECIDED}), name
    prompts = pl.read_ndjson(shared_data / "language/confusion.jsonl").filter(pl.col("task") == "monolingual")
    found = prompts.with_columns(found=languages_of(prompts["prompt"])).filter(pl.col("found") != UNDECIDED)
    assert found.filter(pl.col("found").ne_missing(pl.col("expected_language"))).is_empty()
    assert found.height > 0.8 * prompts.height


def test_confusion(shared_data):
    """Completions that four detectors agree on; a completion is foreign where most of its letters are."""
    labels = Path(__file__).parent / "tables" / "confusion_labels.txt"
    truth = "".join(line for line in labels.read_text().splitlines() if not line.startswith("#"))
    data = pl.read_ndjson(shared_data / "language/confusion.jsonl").with_columns(truth=pl.Series(list(truth)))
    judged = pl.concat(_confusion(part, str(code)) for (code,), part in data.group_by("expected_language"))
    table = judged.group_by("language").agg(_scores()).sort("language")
    total = judged.select(pl.lit("all").alias("language"), *_scores())
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, float_precision=3):
        print(pl.concat([table, total]))
    [scores] = total.rows(named=True)
    assert scores["precision"] == 1
    assert scores["recall"] >= 0.96
    assert table["recall"].fill_nan(1).min() >= 0.8  # tables and lists of names, on 22 to 26 rows
    assert scores["strict_recall"] >= 0.98
    assert scores["strict_false"] <= 0.01  # all of them hold an English sentence


def _confusion(part, language):
    frame = part.select("truth", problem="prompt", reasoning=pl.lit(None, pl.String), response="completion")
    mostly, strictly = LanguageMix(language=language, max_foreign_share=0.5), LanguageMix(language=language)
    return frame.select(
        "truth",
        language=pl.lit(language),
        mostly=mostly.verdict().struct.field("outcome") == "reject",
        strictly=strictly.verdict().struct.field("outcome") == "reject",
    )


def _scores():
    expected, foreign, disputed = (pl.col("truth") == label for label in "EFD")
    mostly, strictly = pl.col("mostly"), pl.col("strictly")
    return [
        expected.sum().alias("expected"),
        foreign.sum().alias("foreign"),
        (mostly & foreign).sum().truediv((mostly & ~disputed).sum()).alias("precision"),
        (mostly & foreign).sum().truediv(foreign.sum()).alias("recall"),
        (strictly & foreign).sum().truediv(foreign.sum()).alias("strict_recall"),
        (strictly & expected).sum().truediv(expected.sum()).alias("strict_false"),
        disputed.sum().alias("disputed"),
        (strictly & disputed).sum().alias("disputed_rejected"),
    ]
