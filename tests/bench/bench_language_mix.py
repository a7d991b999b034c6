"""language_mix against langdetect: per paragraph, which calls mathematics foreign; on whole texts, which sees nothing.

    python tests/bench/bench_language_mix.py --rows 2000

The baselines judge the first ``--baseline-rows`` rows and their time is scaled to all rows. To a tenth of the clean
rows one foreign sentence is added, at a random place; what else the corpus plants is left out.
"""

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import polars as pl
from corpus import frames

sys.path.insert(0, str(Path(__file__).parents[2]))

from filters.language_mix import LanguageMix

TARGET = 100
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
    """Rows of the corpus; ``mixed`` is the sentence added, null in clean rows."""
    frame = pl.concat(frames(rows, seed=seed)).filter(
        pl.col("planted").is_null() | pl.col("planted").str.contains("lang")
    )
    generator = random.Random(seed)
    reasoning, mixed = [], []
    for text, planted in frame.select("reasoning", "planted").iter_rows():
        sentence = generator.choice(SENTENCES) if planted is None and generator.random() < 0.1 else None
        if sentence:
            paragraphs = text.split("\n\n")
            paragraphs.insert(generator.randrange(len(paragraphs) + 1), sentence)
            text = "\n\n".join(paragraphs)
        reasoning.append(text)
        mixed.append(sentence or planted)
    return frame.with_columns(reasoning=pl.Series(reasoning), mixed=pl.Series(mixed, dtype=pl.String))


def per_paragraph(frame: pl.DataFrame) -> list[bool]:
    """Whether langdetect names another language than English for any paragraph."""
    languages = [{_language(paragraph) for paragraph in text.split("\n\n")} for text in frame["reasoning"]]
    return [bool(found - {"en", None}) for found in languages]


def whole_text(frame: pl.DataFrame) -> list[bool]:
    """Whether langdetect names another language than English for the text."""
    return [_language(text) not in ("en", None) for text in frame["reasoning"]]


def ours(detector: str) -> Callable[[pl.DataFrame], list[bool]]:
    """Whether language_mix rejects."""
    f = LanguageMix(detector=detector)
    f.check_ready()
    return lambda frame: (frame.select(f.verdict()).to_series().struct.field("outcome") == "reject").to_list()


def _language(text: str) -> str | None:
    from langdetect import detect
    from langdetect.lang_detect_exception import LangDetectException

    try:
        return detect(text)
    except LangDetectException:
        return None


def measure(judge: Callable[[pl.DataFrame], list[bool]], frame: pl.DataFrame, rows: int) -> dict[str, float]:
    """Seconds for ``rows`` rows, false positives and recall on ``frame``."""
    begin = perf_counter()
    flags = pl.Series(judge(frame), dtype=pl.Boolean)
    seconds = (perf_counter() - begin) * rows / len(frame)
    clean = frame["mixed"].is_null()
    return {"s": seconds, "false": flags.filter(clean).mean() or 0.0, "recall": flags.filter(~clean).mean() or 0.0}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--baseline-rows", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0
    frame = corpus(options.rows, options.seed)
    few = frame.head(options.baseline_rows)
    per_paragraph(few.head(1))
    baseline = measure(per_paragraph, few, len(frame))
    table = {"langdetect per paragraph": baseline, "langdetect on whole texts": measure(whole_text, few, len(frame))}
    for detector in ("langdetect", "pycld2"):
        try:
            table[f"language_mix, {detector}"] = measure(ours(detector), frame, len(frame))
        except ValueError as error:
            print(error)
    chars = frame["reasoning"].str.len_chars().mean()
    print(f"{len(frame)} rows of {chars:.0f} characters; baselines on {len(few)}, scaled")
    print(f"{'job':28s}{'s':>9s}{'ratio':>8s}{'target':>8s}{'false':>9s}{'recall':>9s}")
    for job, row in table.items():
        ratio, target = baseline["s"] / row["s"], f"≥ {TARGET}" if job.startswith("language_mix") else ""
        print(f"{job:28s}{row['s']:9.2f}{ratio:7.0f}x{target:>8s}{row['false']:9.2%}{row['recall']:9.2%}")


if __name__ == "__main__":
    main()
