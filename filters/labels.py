"""Labels: what a person has read and found bad is not learned from. They are given in `distill view`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from filters import Filter, FilterError, Verdict, abstain, reject
from filters._filter import digested
from filters._labels import Key, Label, read_labels, text_digest


class Labels(Filter):
    """Keep trajectories that nobody has labelled bad.

    A label was said of a text: where the sample of that name has another text by now, nobody has read it.

    Score: 1 if labelled good, 0 if labelled bad; none where there is no label.
    Rejects: labelled_bad.
    Abstains: missing_input, text_changed (the label was given to another text of this name).
    """

    path: str = ""
    """The file of labels, which `distill view` writes into a run as ``labels.parquet``."""
    bad: tuple[str, ...] = ()
    """Further rows that are bad, by name: ``<problem_id> #<sample>``."""

    reads = ("problem_id", "sample", "reasoning", "response")
    nullable = ("reasoning",)
    example_parameters: ClassVar[dict[str, Any]] = {"bad": ("a #1",)}
    examples = (
        ({"problem_id": "a", "sample": 0, "reasoning": "6 times 7", "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "sample": 1, "reasoning": "Hm.", "response": "It is 42."}, "labelled_bad"),
        ({"problem_id": "a", "sample": 2, "reasoning": None, "response": None}, "missing_input"),
    )

    def check_ready(self) -> None:
        """The file can be read."""
        self._labels()

    def provenance(self) -> dict[str, Any]:
        """With the labels themselves, as a digest."""
        facts = super().provenance()
        del facts["digest"]
        said = sorted([*key, *label] for key, label in self._labels().items())
        return digested(facts | {"labels": digested({"labels": said})["digest"], "labelled": len(said)})

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Look each row up; texts are compared only where there is a label."""
        labels = self._labels()
        columns = rows.select(self.reads)
        return (_verdict(labels.get((str(row[0]), row[1])), row[2], row[3]) for row in columns.iter_rows())

    def _labels(self) -> Mapping[Key, Label]:
        if not (self.path or self.bad):
            raise FilterError(
                "labels knows no label: name the file that `distill view` wrote, as in "
                "labels: {path: runs/quickstart/labels.parquet}."
            )
        by_name = {_key(name): Label("bad", None) for name in self.bad}
        return {**(read_labels(Path(self.path)) if self.path else {}), **by_name}


def _key(name: str) -> Key:
    problem_id, _, sample = name.rpartition(" #")
    if not problem_id or not sample.isdecimal():
        raise FilterError(f"labels: {name!r} names no row; expected '<problem_id> #<sample>', as `distill view` shows.")
    return problem_id, int(sample)


def _verdict(label: Label | None, reasoning: str | None, response: str | None) -> Verdict:
    if label is None:
        return Verdict("keep")
    if label.text_digest not in (None, text_digest(reasoning, response)):
        return abstain("text_changed", None, f"labelled {label.label}")
    return reject("labelled_bad", 0.0) if label.label == "bad" else Verdict("keep", None, 1.0)
