"""language_mix against langdetect: per paragraph, which calls mathematics foreign; on whole texts, which sees nothing.

    python tests/bench/bench_language_mix.py --rows 2000

The baselines judge the first ``--baseline-rows`` rows and their time is scaled to all rows. Besides the foreign
paragraphs and the token garbage that the corpus plants in 4 % of its rows, a tenth of the clean rows get one single
foreign sentence at a random place. Rows with other defects are left out.
"""

import argparse
import random
from collections.abc import Callable
from importlib.util import find_spec

import polars as pl
from corpus import frames
from table import HEADER, row, timed

from filters.language_mix import LanguageMix

DETECTORS = [name for name in ("langdetect", "pycld2") if find_spec(name)]
SENTENCES = (
    "لذلك وجدنا أن مجموع العددين يساوي أربعين.",
    "Wir haben also gefunden, dass die Summe der beiden Zahlen gleich vierzig ist.",
    "Dann sieht man sofort, dass nur noch drei Möglichkeiten übrig bleiben.",
    "Entonces la suma de los dos números es igual a cuarenta, como queríamos ver.",
    "Ahora vamos a comprobar que este resultado también cumple la segunda condición.",
    "Nous avons donc trouvé que la somme des deux nombres est égale à quarante.",
    "Il reste à vérifier que cette solution convient aussi dans le second cas.",
    "इसलिए हमने पाया कि दोनों संख्याओं का योग चालीस के बराबर है।",
    "Jadi kita telah menemukan bahwa jumlah dari dua angka itu adalah empat puluh.",
    "Allora abbiamo trovato che la somma dei due numeri è uguale a quaranta.",
    "したがって、二つの数の和は四十に等しいことが分かりました。",
    "그러므로 두 수의 합은 마흔과 같다는 것을 알았습니다.",
    "Então encontramos que a soma dos dois números é igual a quarenta.",
    "Значит, мы нашли, что сумма этих двух чисел равна сорока.",
    "Böylece bu iki sayının toplamının kırka eşit olduğunu bulduk.",
    "Vậy chúng ta đã tìm được rằng tổng của hai số bằng bốn mươi.",
    "所以我们得到这两个数的和等于四十。",
    "等等，让我再检查一下这个步骤是否正确。",
)


def corpus(rows: int, seed: int) -> pl.DataFrame:
    """Rows of the corpus; ``mixed`` is what is foreign in them, null in clean rows."""
    frame = pl.concat(frames(rows, seed=seed))
    frame = frame.filter(pl.col("planted").fill_null("foreign").str.contains("foreign|garbage"))
    generator = random.Random(seed)
    reasoning, mixed = [], []
    for text, planted in frame.select("reasoning", "planted").iter_rows():
        sentence = generator.choice(SENTENCES) if planted is None and generator.random() < 0.1 else None
        if sentence:
            paragraphs = text.split("\n\n")
            paragraphs.insert(generator.randrange(len(paragraphs) + 1), sentence)
            text = "\n\n".join(paragraphs)
        reasoning.append(text)
        mixed.append("one sentence" if sentence else planted)
    return frame.with_columns(reasoning=pl.Series(reasoning), mixed=pl.Series(mixed, dtype=pl.String))


def per_paragraph(frame: pl.DataFrame) -> list[bool]:
    """Whether langdetect names another language than English for any paragraph."""
    languages = [{_language(paragraph) for paragraph in text.split("\n\n")} for text in _texts(frame)]
    return [bool(found - {"en", None}) for found in languages]


def whole_text(frame: pl.DataFrame) -> list[bool]:
    """Whether langdetect names another language than English for the text."""
    return [_language(text) not in ("en", None) for text in _texts(frame)]


def ours(detector: str) -> Callable[[pl.DataFrame], list[bool]]:
    """Whether language_mix rejects."""
    f = LanguageMix(detector=detector)
    return lambda frame: (frame.select(f.verdict()).to_series().struct.field("outcome") == "reject").to_list()


def _language(text: str) -> str | None:
    from langdetect import detect
    from langdetect.lang_detect_exception import LangDetectException

    try:
        return detect(text)
    except LangDetectException:
        return None


def _texts(frame: pl.DataFrame) -> list[str]:
    return (frame["reasoning"] + "\n\n" + frame["response"]).to_list()


def quality(job: str, frame: pl.DataFrame, flags: list[bool]) -> str:
    """One line: false positives on clean rows, and recall by what is foreign."""
    flagged = frame.select("mixed", flag=pl.Series(flags, dtype=pl.Boolean))
    shares = dict(flagged.group_by(pl.col("mixed").fill_null("clean").str.head(7)).agg(pl.col("flag").mean()).rows())
    return f"{job:<44}" + "".join(
        f"{shares.get(kind, float('nan')):>10.2%}" for kind in ("clean", "foreign", "garbage", "one sen")
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--baseline-rows", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0
    frame = corpus(options.rows, options.seed)
    few = frame.head(options.baseline_rows)
    per_paragraph(few.head(1))  # loads the profiles
    scale = len(frame) / len(few)
    chars = frame["reasoning"].str.len_chars().mean()
    print(f"{len(frame)} rows of {chars:.0f} characters; baselines on {len(few)} of them, times {scale:.0f}")
    paragraphs_s, by_paragraph = timed(lambda: per_paragraph(few))
    whole_s, by_text = timed(lambda: whole_text(few))
    found = {"langdetect per paragraph": (few, by_paragraph), "langdetect on whole texts": (few, by_text)}
    print(HEADER)
    for detector in DETECTORS:
        judge = ours(detector)
        seconds, flags = timed(lambda judge=judge: judge(frame))
        found[f"language_mix, {detector}"] = frame, flags
        print(row(f"langdetect per paragraph | {detector}", paragraphs_s * scale, seconds, ">= 100x"))
        print(row(f"langdetect on whole texts | {detector}", whole_s * scale, seconds))
    print(f"\n{'rejected':<44}{'clean':>10}{'planted':>10}{'garbage':>10}{'sentence':>10}")
    for job, (rows, flags) in found.items():
        print(quality(job, rows, flags))


if __name__ == "__main__":
    main()
