"""A row and what filters said of it, for a person: as HTML in a notebook and as text elsewhere.

What a row says is data: it is escaped in HTML, and terminal escapes in it are shown as signs. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from filters._evidence import locate, merged, visible, written
from filters._verdict import Verdict

TEXTS = ("problem", "reasoning", "response")
"""The texts of a row that evidence is looked for in, in the order in which they are read."""
TEXT_CHARS = 2_000
"""Characters of each of them in the text form."""

STYLE = """<style>
.distill { font-variant-numeric: tabular-nums; line-height: 1.45; max-width: 72rem; }
.distill pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; max-height: 24rem; overflow-y: auto;
  unicode-bidi: plaintext; text-align: start; padding: .5rem .7rem; border-radius: 4px;
  background: rgba(128,128,128,.10); color: inherit; font-size: .85em; }
.distill mark { background: rgba(240,180,0,.45); color: inherit; border-radius: 2px; padding: 0 .1em; }
.distill table { border-collapse: collapse; margin: .3rem 0; display: block; overflow-x: auto; }
.distill th, .distill td { text-align: left; vertical-align: top; padding: .15rem .9rem .15rem 0; background: none; }
.distill td:last-child { overflow-wrap: anywhere; min-width: 8rem; }
.distill .n { text-align: right; white-space: nowrap; }
.distill h4 { font-size: .8em; font-weight: 600; opacity: .65; margin: .6rem 0 .2rem; }
.distill summary { cursor: pointer; padding: .25rem 0; overflow-wrap: anywhere; }
.distill details { border-top: 1px solid rgba(128,128,128,.3); }
.distill .soft { opacity: .65; } .distill .keep { color: #2d7dd2; } .distill .reject { color: #c8572c; }
.distill .abstain { color: #97822f; } .distill .bar { display: inline-block; height: .7em; background: currentColor; }
.distill .side { display: flex; gap: 1rem; overflow-x: auto; padding-bottom: .5rem; }
.distill .side > div { flex: 0 0 min(24rem, 85%); }
</style>"""
"""Once in each output: it takes the notebook's own colours, light or dark."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one filter said of the row, or why it said nothing."""

    filter: str
    """Its name; ``any_of.verify_math`` for a member of a combinator, which explains the step before it."""
    verdict: Verdict | None
    note: str = ""
    """Why there is no verdict."""

    @property
    def outcome(self) -> str:
        """Keep, reject, abstain, or nothing."""
        return self.verdict.outcome if self.verdict else ""


@dataclass(frozen=True, repr=False)
class Explanation:
    """A row, and filter by filter what became of it: `_repr_html_` in a notebook, text where it is printed."""

    row: Mapping[str, Any]
    steps: tuple[Step, ...]
    focus: str | None = None
    """The filter that the row is looked at for; the one that decided if none is named."""

    @property
    def looked_at(self) -> Step | None:
        """The step in focus, or the one that decided."""
        return next((step for step in self.steps if step.filter == self.focus), self.decided)

    @property
    def decided(self) -> Step | None:
        """The first step that did not keep the row; None where all that judged it kept it."""
        return next((s for s in self.steps if s.verdict and s.outcome != "keep" and "." not in s.filter), None)

    @property
    def fate(self) -> str:
        """``kept``, ``<filter>: <reason>``, or ``not judged``; ``undecided`` where a filter could not be asked."""
        if step := self.decided:
            return f"{step.filter}: {step.verdict.reason}" if step.verdict else ""
        whole = [step for step in self.steps if "." not in step.filter]
        if all(step.verdict for step in whole) and whole:
            return "kept"
        return "undecided" if any(step.verdict for step in whole) else "not judged"

    @property
    def evidence(self) -> tuple[str, ...]:
        """What is marked in the texts: the evidence of the step looked at; of a kept row, that of every step."""
        steps = (self.looked_at,) if self.looked_at else self.steps
        return tuple(step.verdict.evidence for step in steps if step and step.verdict and step.verdict.evidence)

    @property
    def name(self) -> str:
        """What names the row: ``<problem_id> #<sample>``, and how it came to be where it has a ``method``."""
        shown = str(self.row.get("problem_id") or "row")
        if self.row.get("sample") is not None:
            shown += f" #{self.row['sample']}"
        if method := self.row.get("method"):
            of = "" if self.row.get("parent") is None else f" of #{self.row['parent']}"
            shown += f" ({method}{of})"
        return visible(shown)

    def marked(self, column: str, *, most: int = 16_000) -> str:
        """One of its texts as HTML, the evidence in ``<mark>``."""
        text, spans = self.found(column)
        return written(text, spans, plain=escape, mark=lambda part: f"<mark>{escape(part)}</mark>", most=most)

    def found(self, column: str) -> tuple[str, tuple[tuple[int, int], ...]]:
        """One of its texts as it is shown, and where the evidence stands in it."""
        text = visible(str(self.row.get(column) or ""))
        return text, merged(s for said in self.evidence for s in locate(text, visible(said)).spans)

    @property
    def elsewhere(self) -> bool:
        """Whether there is evidence that stands in none of the row's texts: the filter computed it."""
        return bool(self.evidence) and not any(self.found(column)[1] for column in TEXTS)

    # --- HTML ---------------------------------------------------------------------------------------------------------

    def _repr_html_(self) -> str:
        return f'{STYLE}<div class="distill"><p>{self.headline()}</p>{self.body()}</div>'

    def headline(self) -> str:
        """One line of HTML: what became of the row, its name and length."""
        css = self.decided.outcome if self.decided else "keep" if self.fate == "kept" else "soft"
        return f'<b class="{css}">{escape(visible(self.fate))}</b> <span class="soft">{escape(self.details)}</span>'

    @property
    def details(self) -> str:
        """The row's name, its length, and the score of the filter looked at."""
        parts, tokens = [self.name], self.row.get("completion_tokens")
        if tokens is not None:
            parts.append(f"{tokens:,} tokens")
        if (step := self.looked_at) and step.verdict and step.verdict.score is not None:
            parts.append(f"{visible(step.filter)} score {number(step.verdict.score)}")
        return " · ".join(parts)

    def body(self, columns: tuple[str, ...] = TEXTS) -> str:
        """The verdicts and the texts as HTML."""
        parts = [self.verdict_table()]
        if self.elsewhere:
            parts.append('<p class="soft">The evidence stands in none of the texts: the filter computed it.</p>')
        if "problem" in columns and self.row.get("reference_answer") is not None:
            parts.append(f"<h4>reference answer</h4><pre>{escape(visible(str(self.row['reference_answer'])))}</pre>")
        for column in columns:
            if self.row.get(column) is not None:
                parts.append(f"<h4>{column}</h4><pre>{self.marked(column)}</pre>")
            elif column in self.row:
                parts.append(f'<h4>{column}</h4><p class="soft">none</p>')
        return "".join(parts)

    def verdict_table(self) -> str:
        """What each filter said, as an HTML table."""
        rows = []
        for step in self.told():
            said = step.verdict
            name = f"<td>{escape(visible(step.filter))}</td>"
            if said is None:
                rows.append(f'<tr class="soft">{name}<td colspan="3">{escape(step.note)}</td></tr>')
                continue
            outcome = f"{said.outcome}: {said.reason}" if said.reason else said.outcome
            rows.append(
                f'<tr>{name}<td class="{said.outcome}">{escape(visible(outcome))}</td>'
                f'<td class="n">{number(said.score)}</td><td>{escape(visible(said.evidence or ""))}</td></tr>'
            )
        head = '<tr><th>filter</th><th>verdict</th><th class="n">score</th><th>evidence</th></tr>'
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"

    def told(self) -> list[Step]:
        """The steps; neighbours without a verdict for one reason as one, members of what was not reached left out."""
        silent = {step.filter for step in self.steps if step.verdict is None}
        lines: list[Step] = []
        for step in self.steps:
            if step.verdict is None and step.filter.rpartition(".")[0] in silent:
                continue
            before = lines[-1] if lines else None
            if before and before.verdict is None and step.verdict is None and before.note == step.note:
                lines[-1] = Step(f"{before.filter}, {step.filter}", None, step.note)
            else:
                lines.append(step)
        return lines

    # --- text ---------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        lines = [f"{visible(self.fate)} · {self.details}", ""]
        told = self.told()
        width = max((len(step.filter) for step in told if step.verdict), default=0)
        for step in told:
            said = step.verdict
            words = step.note if said is None else f"{said.outcome}{f': {said.reason}' if said.reason else ''}"
            if said and said.score is not None:
                words += f", score {number(said.score)}"
            lines.append(f"  {visible(step.filter):<{width}}  {visible(words)}")
            if said and said.evidence:
                lines.append(f"  {'':<{width}}  {clipped(said.evidence, 160)}")
        for column in TEXTS:
            if self.row.get(column) is not None:
                lines += ["", f"--- {column}", self.text(column)]
        if self.elsewhere:
            lines += ["", "The evidence stands in none of the texts: the filter computed it."]
        return "\n".join(lines)

    def context(self, column: str, chars: int) -> str:
        """One line of a text: the end of it, or what is around the first place of the evidence, marked."""
        text, spans = self.found(column)
        if not spans:
            return ("…" if len(text) > chars else "") + " ".join(text[-chars:].split())
        begin, end = spans[0][0], min(spans[0][1], spans[0][0] + chars)
        around = max(chars - (end - begin), 20) // 2
        low, high = max(0, begin - around), min(len(text), end + around)
        shown = " ".join(f"{text[low:begin]}⟪{text[begin:end]}⟫{text[end:high]}".split())
        return ("…" if low else "") + shown + ("…" if high < len(text) else "")

    def glance(self, chars: int = 90) -> list[str]:
        """The row in two lines or three: its problem, the evidence, and the text that this stands in or its end."""
        lines = [clipped(str(self.row["problem"]), chars)] if self.row.get("problem") is not None else []
        lines += [f"evidence: {clipped(said, chars - 10)}" for said in self.evidence[-1:]]
        texts = [column for column in ("response", "reasoning") if self.row.get(column) is not None]
        texts.sort(key=lambda column: not self.found(column)[1])
        return lines + [f"{column}: {self.context(column, chars - 13)}" for column in texts[:1]]

    def text(self, column: str, *, most: int = TEXT_CHARS) -> str:
        """One of its texts as plain text, the evidence between ⟪ and ⟫."""
        text, spans = self.found(column)
        return written(text, spans, plain=str, mark=lambda part: f"⟪{part}⟫", most=most)


def explanation(row: Mapping[str, Any], focus: str | None = None) -> Explanation:
    """A row of a judged frame with its verdict columns as steps."""
    steps, fallen = [], False
    for column, verdict in row.items():
        if not column.startswith("verdict_"):
            continue
        said = Verdict(**verdict) if verdict is not None else None
        steps.append(Step(column.removeprefix("verdict_"), said, "" if said else _unreached(column, fallen)))
        fallen |= bool(said) and steps[-1].outcome != "keep" and "." not in column
    texts = {name: value for name, value in row.items() if not name.startswith("verdict_")}
    return Explanation(texts, tuple(steps), focus)


def _unreached(column: str, fallen: bool) -> str:
    if "." in column:
        return "not asked"
    return "not reached: the row had fallen before" if fallen else "not judged"


def number(value: float | None) -> str:
    """A score as a person reads it: whole numbers whole, others with four digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def clipped(text: str, chars: int) -> str:
    """The beginning of a text in one line."""
    line = " ".join(visible(text[: 4 * chars]).split())
    return line if len(line) <= chars else line[: chars - 1] + "…"
