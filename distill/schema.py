"""The columns of each table that a run passes on: the only place where they are named and typed.

Does not know where a table comes from or what is done with it.
"""

import json

import polars as pl

_QUESTION: list[tuple[str, type[pl.DataType]]] = [
    ("problem_id", pl.String),  # stable across runs
    ("problem", pl.String),  # the question, without instruction or chat template
    ("reference_answer", pl.String),  # gold; null where none is known
    ("domain", pl.String),  # math | code | choice | instruction | general
    ("source", pl.String),  # where the problem is from: a Hub id, a file name, a generator
]

PROBLEM = pl.Schema(
    [
        *_QUESTION,
        ("split", pl.String),  # train | held_out; a held-out problem is never sampled for training
    ]
)

TRAJECTORY = pl.Schema(
    [
        *_QUESTION,
        ("sample", pl.Int32),  # 0 .. samples_drawn - 1, and from 1,000,000 by method; (problem_id, sample) is the key
        ("samples_drawn", pl.Int32),  # plain samples asked of this problem: the denominator of its pass rate
        ("teacher", pl.String),  # model id @ revision
        ("reasoning", pl.String),  # between the think tags, without them; null when they never close
        ("response", pl.String),  # after the reasoning: what the user would see
        ("finish_reason", pl.String),  # stop | length | aborted:<why> | failed:<why>; null if unknown
        ("prompt_tokens", pl.Int32),  # teacher's tokenizer, template included; null for imported rows
        ("completion_tokens", pl.Int32),  # teacher's tokenizer, reasoning and response; null if unknown
        ("continued_at", pl.Int32),  # completion tokens before the second part of one that was cut; null for others
        ("doomed", pl.String),  # loop | language | budget: why it was ended, or would have been; null for others
        ("doomed_at", pl.Int32),  # completion tokens when that was seen
        ("effort", pl.String),  # the level of effort that was asked for; null for none
        ("method", pl.String),  # refine | hint; null for an answer to the plain question
        ("parent", pl.Int32),  # refine: the sample of the same problem that this one mends; null for others
    ]
)


VERIFIER_INPUT = pl.Schema(
    [
        ("tests", pl.String),  # JSON: what a program must do (verify_code)
        ("options", pl.String),  # JSON: the texts of a choice, in order (verify_choice)
        ("constraints", pl.String),  # JSON: [{"id": …, "kwargs": {…}}] that a response must obey (verify_instructions)
    ]
)
"""What a verifier looks at besides the reference answer: columns that problems and trajectories have where needed."""


class SchemaError(ValueError):
    """A table lacks a column, or has one of another type, or repeats a key."""


def check(table: pl.DataFrame, schema: pl.Schema, *, what: str, key: tuple[str, ...] = ()) -> pl.DataFrame:
    """Return the table with the schema's columns first, or say which of them are wrong.

    Columns that the schema does not name follow in their order. `key` columns must be non-null and unique together.
    """
    wrong = [
        f"column {name!r}: expected {dtype}, found {table.schema.get(name, 'no such column')}"
        for name, dtype in schema.items()
        if table.schema.get(name) != dtype
    ]
    if wrong:
        raise SchemaError(f"{what} does not match its schema:\n  " + "\n  ".join(wrong))
    if key:
        _check_key(table, key, what)
    return table.select(*schema, pl.exclude(*schema))


def _check_key(table: pl.DataFrame, key: tuple[str, ...], what: str) -> None:
    nulls = table.filter(pl.any_horizontal(pl.col(key).is_null())).height
    if nulls:
        raise SchemaError(f"{what}: {nulls} rows have a null in their key ({', '.join(key)})")
    repeated = table.group_by(key).len().filter(pl.col("len") > 1).sort(key)
    if not repeated.is_empty():
        first = ", ".join(f"{name}={repeated[name][0]!r}" for name in key)
        raise SchemaError(f"{what}: {repeated.height} keys occur more than once, the first is {first}")


def verifier_input(table: pl.DataFrame) -> list[pl.Series]:
    """The columns of `VERIFIER_INPUT` that a table has, as JSON text where they are lists or structs.

    IFEval's two lists, `instruction_id_list` and `kwargs`, are `constraints`.
    """
    found = [_as_json(table[name]) for name in VERIFIER_INPUT if name in table.columns]
    if "constraints" not in table.columns and {"instruction_id_list", "kwargs"} <= {*table.columns}:
        rows = table.select("instruction_id_list", "kwargs").iter_rows()
        paired = [[{"id": i, "kwargs": k} for i, k in zip(ids, kwargs, strict=False)] for ids, kwargs in rows]
        found.append(pl.Series("constraints", [json.dumps(pairs) for pairs in paired], dtype=pl.String))
    return found


def _as_json(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)
