"""Decontamination: training on the test makes the report worthless.

Finds benchmark items word by word, in the prompt and in the trace. A paraphrase, a translation or an item with all its
numbers changed is not found.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Filter, FilterError, RowsAt, verdict_where
from filters._benchmarks import Item, commits, digest, read_items
from filters._filter import digested
from filters._text import text, words

if TYPE_CHECKING:
    from filters import _contamination

_ITEM = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."


class Decontaminate(Filter):
    r"""Keep trajectories whose problem and trace hold no benchmark item.

    Texts are compared as n-grams of words and numbers: case, punctuation, white space and LaTeX that only changes how
    a formula looks do not matter. The share of an item is the share of its distinct n-grams that a text holds. N-grams
    that many different problems or items have in common ("where m and n are relatively prime positive integers")
    count for nothing. An item of fewer than n words is looked for whole, and only in the problem.

    Score: largest share (0..1) of a benchmark item that the problem or the trace holds.
    Rejects: contaminated_problem, contaminated_trace.
    Abstains: missing_input.
    """

    benchmarks: tuple[str, ...] = ()
    """Benchmark files (JSONL, Parquet or CSV) or Hub datasets (``owner/name:config:split@revision``; the split is test
    if not given), with their problems in a column problem, question or prompt."""
    texts: tuple[str, ...] = ()
    """Further items, such as canary strings, as they are."""
    ngram_words: Annotated[int, Field(ge=2, le=64)] = 10
    """Words in an n-gram: 10 as in DeepSeek-R1; open-r1 takes 8, GPT-3 took 13."""
    problem_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of an item in the problem that rejects; at 0 a single n-gram does, as in DeepSeek-R1 and open-r1."""
    trace_share: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least share of an item in reasoning and response that rejects; a short quotation is no contamination."""
    boilerplate_documents: Annotated[int, Field(ge=2)] | None = 5
    """An n-gram of so many different problems, or benchmark items, is boilerplate; null: none is.

    Problems that hold half of an item, or `problem_share` of it if that is more, are not counted: copies of an item do
    not hide one another."""

    reads = ("problem", "reasoning", "response")
    nullable = ("reasoning",)
    features = ("words",)
    scope = "dataset"
    example_parameters: ClassVar[dict[str, Any]] = {"texts": (_ITEM, "What is 17 plus 25?")}
    examples = (
        ({"problem": "How many clips?", "reasoning": "Half of 48 is 24.", "response": r"\boxed{72}"}, "keep"),
        ({"problem": _ITEM.upper() + " How many?", "reasoning": None, "response": "72"}, "contaminated_problem"),
        ({"problem": "what is $17$ plus $25$", "reasoning": None, "response": "42"}, "contaminated_problem"),
        ({"problem": "Add.", "reasoning": f"I recall: {_ITEM}", "response": "72"}, "contaminated_trace"),
        ({"problem": "Add.", "reasoning": "She sold half as many clips in May.", "response": "24"}, "keep"),
        ({"problem": None, "reasoning": None, "response": "24"}, "missing_input"),
    )

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The benchmark n-grams that the problem and the trace hold, by number: mostly none."""
        index = self._index()
        problem = rows.select(text("problem")).to_series()
        return pl.DataFrame(
            {
                "document": problem.hash(),
                "problem": index.hits(words(problem), short=True),
                "trace": index.hits(rows["words"], short=False),
            }
        )

    def judge_sketches(self, sketches: pl.DataFrame, rows_at: RowsAt) -> pl.Series:
        """Weigh the n-grams, then look for the item that each text holds most of."""
        index = self._index()
        sketches = sketches.with_row_index("row")
        of_items = index.of_items.join(self._boilerplate(sketches), on="gram", how="anti")
        # An item that is nothing but common phrases is compared as it is.
        of_items = pl.concat([of_items, index.of_items.join(of_items, on="item", how="anti")])
        found = pl.concat(
            _shares(_hits(sketches, where), of_items).with_columns(
                where=pl.lit(where), contaminated=pl.col("share") >= least
            )
            for where, least in (("problem", self.problem_share), ("trace", self.trace_share))
        )
        # The problem's contamination, if it is, tells more than the trace's, which often repeats the problem.
        is_problem = pl.col("contaminated") & (pl.col("where") == "problem")
        order = [pl.col("contaminated"), is_problem, pl.col("share"), -pl.col("item")]
        worst = found.sort(order, descending=True, maintain_order=True).unique("row", keep="first", maintain_order=True)
        return _verdicts(sketches, worst, index)

    def _boilerplate(self, sketches: pl.DataFrame) -> pl.DataFrame:
        """Column gram: numbers of the n-grams that say nothing of an item."""
        of_items = self._index().of_items
        if self.boilerplate_documents is None:
            return of_items.select("gram").clear()
        hits = _hits(sketches, "problem")
        copies = _shares(hits, of_items).filter(pl.col("share") >= max(self.problem_share, 0.5)).select("row")
        others = hits.join(copies, on="row", how="anti").join(sketches.select("row", "document"), on="row")
        in_corpus = others.group_by("gram").agg(pl.col("document").n_unique())
        in_items = of_items.group_by("gram").agg(document=pl.col("item").n_unique())
        often = pl.col("document") >= self.boilerplate_documents
        return pl.concat([counts.filter(often).select("gram") for counts in (in_corpus, in_items)]).unique()

    def check_ready(self) -> None:
        """Benchmarks are named, and can be read."""
        self._items()

    def provenance(self) -> dict[str, Any]:
        """With the digest of what the benchmarks hold, and the commits of those on the Hub."""
        facts = super().provenance()
        del facts["digest"]
        return digested(facts | {"benchmarks": digest(self._items()), "commits": commits(self.benchmarks)})

    def _items(self) -> tuple[Item, ...]:
        if not (self.benchmarks or self.texts):
            raise FilterError(
                "decontaminate knows no benchmark: name files of the benchmarks that the report will use, as in "
                "decontaminate: {benchmarks: [benchmarks/aime24.jsonl]}."
            )
        return tuple(read_items(self.benchmarks, self.texts))

    def _index(self) -> "_contamination.Index":
        from filters import _contamination

        return _contamination.index(self._items(), self.ngram_words)


def _hits(sketches: pl.DataFrame, where: str) -> pl.DataFrame:
    """Columns row and gram."""
    return sketches.select("row", gram=pl.col(where)).filter(pl.col("gram").list.len() > 0).explode("gram")


def _shares(hits: pl.DataFrame, of_items: pl.DataFrame) -> pl.DataFrame:
    """Columns row, item, share of the item's n-grams, and the places of the first and last one in the item."""
    counts = of_items.group_by("item").agg(grams=pl.len())
    found = hits.join(of_items, on="gram").group_by("row", "item")
    shares = found.agg(found=pl.len(), first=pl.col("place").min(), last=pl.col("place").max())
    return shares.join(counts, on="item").select(
        "row", "item", "first", "last", share=pl.col("found") / pl.col("grams")
    )


def _verdicts(sketches: pl.DataFrame, worst: pl.DataFrame, index: "_contamination.Index") -> pl.Series:
    """Verdicts on all rows, given the item that each row with hits holds most of."""
    evidence = [
        f"{index.items[item].name}: {index.span(item, first, last)}" if contaminated else None
        for item, first, last, contaminated in worst.select("item", "first", "last", "contaminated").iter_rows()
    ]
    rows = sketches.select("row").join(
        worst.with_columns(evidence=pl.Series(evidence, dtype=pl.String)), on="row", how="left", maintain_order="left"
    )
    contaminated = pl.col("contaminated").fill_null(False)
    rejects = {f"contaminated_{where}": contaminated & (pl.col("where") == where) for where in ("problem", "trace")}
    return rows.select(
        verdict_where(score=pl.col("share").fill_null(0.0), rejects=rejects, evidence=pl.col("evidence"))
    ).to_series()
