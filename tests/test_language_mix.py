"""Foreign sentences are found; mathematics, code, names, quotations and odd English are not foreign."""

import polars as pl
import pytest

from filters.language_mix import LanguageMix

ENGLISH = "First we add the two numbers and see what is left. Then the rest of the problem is easy to solve. " * 5


def judge(reasoning, language="en"):
    frame = pl.DataFrame({"reasoning": [reasoning], "response": [r"\boxed{4}"]})
    return frame.select(LanguageMix(language=language).verdict()).item()


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("所以我们得到答案是四十二", "foreign_script"),
        ("Значит, ответ равен сорока двум.", "foreign_script"),
        ("したがって答えは四十二です", "foreign_script"),
        ("그러므로 답은 마흔둘입니다", "foreign_script"),
        ("إذن الجواب هو اثنان وأربعون", "foreign_script"),
        ("Nous avons donc trouvé que la somme des deux nombres est égale à quarante.", "foreign_language"),
        ("Wir haben also gefunden, dass die Summe der beiden Zahlen gleich vierzig ist.", "foreign_language"),
        ("Entonces la suma de los dos números es igual a cuarenta, como queríamos ver.", "foreign_language"),
        ("Allora abbiamo che la somma dei due numeri è uguale a quaranta.", "foreign_language"),
        ("Então temos que a soma dos dois números é igual a quarenta.", "foreign_language"),
        ("Jadi jumlah dari dua angka itu adalah sama dengan empat puluh.", "foreign_language"),
    ],
)
@pytest.mark.parametrize("place", ["line", "sentence", "end"])
def test_planted_sentences(planted, reason, place):
    text = {
        "line": f"{ENGLISH}\n{planted}\n{ENGLISH}",
        "sentence": f"{ENGLISH} {planted} {ENGLISH}",
        "end": f"{ENGLISH} {planted}",
    }[place]
    verdict = judge(text)
    assert verdict["reason"] == reason
    assert any(word in verdict["evidence"] for word in planted.strip(".").split())


@pytest.mark.parametrize(
    "text",
    [
        "Ones: 9 times 6 is 54, write 4 carry 5. Tens: 5 times 6 is 30, plus carry 5 is 35.",
        r"Let $\alpha + \beta = \gamma$ and αβγ ≤ ∑ℝ. Then \(\int f\,dx\) converges.",
        "```python\nfor число in range(3): print('привет, мир и все остальные')\n```",
        "The French word “chat échaudé” and the German 'Zeitgeist' are quoted. She said «bonjour à tous».",
        "Li Ming (李明) has three apples, and Señor Müller from Łódź has two.",
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
    quoted = "“" + "Nous avons donc trouvé que la somme des deux nombres est égale à quarante. " * 3 + "”"
    assert judge(ENGLISH + quoted)["reason"] == "foreign_language"


@pytest.mark.parametrize(
    ("language", "own"),
    [
        ("zh", "所以我们得到答案是四十二。设 x = 3，则 f(x) = 9。"),
        ("fr", "Nous avons donc trouvé que la somme des deux nombres est égale à quarante. "),
        ("ru", "Значит, ответ равен сорока двум, если x больше трёх."),
    ],
)
def test_other_languages(language, own):
    assert judge(own, language)["outcome"] == "keep"
    english = "We have found that the sum of the two numbers is equal to forty."
    assert judge(f"{own}\n{english}", language)["reason"] == "foreign_language"
    assert judge(f"{own}\n{english}")["outcome"] == "reject"


def test_verdicts_do_not_depend_on_the_librarys_global_seed():
    import langdetect

    text = f"{ENGLISH}\nNous avons donc trouvé que la somme des deux nombres est égale à quarante."
    langdetect.DetectorFactory.seed = None
    assert [judge(text) for _ in range(3)] == [judge(text)] * 3


def test_no_english_solution_is_rejected(shared_data):
    for name in ("gsm8k_gpt3", "zeroeval"):
        rows = pl.read_ndjson(shared_data / f"trajectories/{name}.jsonl").with_columns(
            reasoning=pl.lit(None, pl.String)
        )
        judged = rows.with_columns(LanguageMix().verdict())
        rejected = judged.filter(pl.col("verdict_language_mix").struct.field("outcome") != "keep")
        assert rejected.is_empty(), rejected.select("id", "verdict_language_mix").rows()
