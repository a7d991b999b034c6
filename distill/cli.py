"""The command line. Configures logging and chooses how progress is shown; everything else is the library's."""

import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from distill.progress import Progress
    from distill.store import Run

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="Path of a recipe's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=VALUE", help="Override a key of the recipe; may be given again."),
]


def _add_filters(folders: list[Path] | None) -> list[Path] | None:
    if folders:
        import filters

        for folder in folders:
            try:
                filters.add_folder(folder)
            except filters.FilterError as error:
                raise typer.BadParameter(str(error)) from None
    return folders


Filters = Annotated[
    list[Path] | None,
    typer.Option(
        "--filters",
        metavar="FOLDER",
        callback=_add_filters,
        help="Folder of filters of your own, a file each; may be given again.",
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the run; the recipe's file name if not given.")]
Runs = Annotated[Path, typer.Option(help="Folder of all runs.")]
Fork = Annotated[
    str | None,
    typer.Option(
        "--fork",
        metavar="NAME",
        help="Make a new run of this name, which starts with the samples that are asked for in the same way.",
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Ask the teacher for nothing more; go on with the samples that are there.")
]


@app.callback()
def main() -> None:
    """Distill a teacher's long reasoning into a small student.

    problems -> trajectories -> verdicts -> dataset -> student -> report

    One recipe drives all stages. What is there and up to date is not made again.
    """


@app.command()
def run(
    recipe: RecipePath,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    filters: Filters = None,
    partial: Partial = False,
    fork: Fork = None,
) -> None:
    """Make everything in the recipe that is missing or out of date."""
    _make(recipe, overrides, name, runs, until=None, partial=partial, fork=fork)


def _stage_command(stage: str, promise: str) -> None:
    def command(
        recipe: RecipePath,
        overrides: Overrides = None,
        name: Name = None,
        runs: Runs = Path("runs"),
        filters: Filters = None,
        partial: Partial = False,
        fork: Fork = None,
    ) -> None:
        _make(recipe, overrides, name, runs, until=stage, partial=partial, fork=fork)

    app.command(stage, help=f"{promise} What comes before it is made first, if missing.")(command)


_stage_command("problems", "Make the problems.")
_stage_command("trajectories", "Sample or import trajectories.")


@app.command()
def verdicts(
    recipe: RecipePath,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    filters: Filters = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILTER.PARAMETER=VALUE[,VALUE]",
            help="Judge nothing anew; show what the chain would keep with these values, such as "
            "length.max_tokens=4096,8192. May be given again: every combination is tried.",
        ),
    ] = None,
    overlap: Annotated[
        bool, typer.Option(help="Judge every row by every filter; show what filters stop in common and alone.")
    ] = False,
    partial: Partial = False,
) -> None:
    """Judge the trajectories and show the funnel. What comes before it is made first, if missing."""
    if not (what_if or overlap):
        _make(recipe, overrides, name, runs, until="verdicts", partial=partial)
        return

    def replayed() -> None:
        from distill.run import open_run
        from distill.summary import show_outcomes, show_overlaps
        from distill.what_if import outcomes, overlaps, parse_change

        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()))
        if what_if:
            _print(show_outcomes(opened, outcomes(opened, [parse_change(change) for change in what_if])))
        if overlap:
            _print(show_overlaps(overlaps(opened)))

    _guard(replayed)


_stage_command("dataset", "Write the dataset and its card.")
_stage_command("student", "Train the students.")
_stage_command("report", "Measure teacher and students on the held-out problems.")


@app.command()
def check(recipe: RecipePath, overrides: Overrides = None, filters: Filters = None) -> None:
    """Say everything that is wrong with a recipe, without loading a model."""

    def checked() -> None:
        from distill.recipe.file import load_recipe

        loaded = load_recipe(recipe, overrides or ())
        stages = [stage for stage in type(loaded).model_fields if getattr(loaded, stage) is not None]
        typer.echo(f"{recipe}: ok ({', '.join(stages)})")

    _guard(checked)


@app.command()
def audit(
    recipe: RecipePath,
    second: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILTER",
            help="Filter that judges the sample again, as a recipe writes it, such as "
            "'judge: {base_url: http://127.0.0.1:8000/v1}'. May be given again. By default math-verify reads the whole "
            "response by its own rules.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="Verdicts to judge again.")] = 400,
    seed: Annotated[int, typer.Option(help="Changes which ones.")] = 0,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    filters: Filters = None,
) -> None:
    """Judge a sample of the verifier's verdicts a second time: how many are false rejects and false accepts."""

    def audited() -> None:
        import yaml

        from distill.audit import audit
        from distill.run import open_run
        from distill.summary import show_audit

        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()))
        entries = [yaml.safe_load(entry) for entry in second or ()]
        _print(show_audit(opened, audit(opened, entries, rows=rows, seed=seed)))

    _guard(audited)


@app.command()
def push(
    recipe: RecipePath,
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its id on the Hub: owner/name.")],
    public: Annotated[
        bool, typer.Option("--public", help="For all the world. Without this the repository must be private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files, sizes and what would change in the card; send nothing.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Publish the report's page too, where there is one.")] = True,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="What was found in rows, such as local_path, may go. May be given again."),
    ] = None,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    filters: Filters = None,
) -> None:
    """Publish the dataset on the Hub: privately, unless --public is typed."""

    def pushed() -> None:
        from distill.hub.repo import Repo
        from distill.push import leaks, plan, push
        from distill.push.parcel import dataset_parcel
        from distill.push.words import show_plan, show_pushed
        from distill.run import check_made, open_run

        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()))
        with opened.lock():
            check_made(opened, "dataset")
            parcel = dataset_parcel(opened, repository, report=report)
            leaks.check(parcel.files, allow or ())
            repo = Repo(parcel.kind, repository)
            if dry_run:
                _print(show_plan(parcel, repo, plan(parcel, repo, public=public), public=public))
            else:
                done = push(parcel, repo, public=public, say=lambda line: print(line, flush=True))
                _print(show_pushed(done))

    _guard(pushed)


@app.command("filters")
def list_filters(
    name: Annotated[str | None, typer.Argument(metavar="[FILTER]", help="Show this one in full.")] = None,
    filters: Filters = None,
) -> None:
    """List the filters, or show one with its reasons and parameters."""

    def listed() -> None:
        from distill.summary import show_filter, show_filters

        _print(show_filter(name) if name else show_filters())

    _guard(listed)


@app.command()
def schema(filters: Filters = None) -> None:
    """Print the JSON schema of recipes, for editors."""
    import json

    from distill.recipe.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


def _make(
    recipe: Path,
    overrides: list[str] | None,
    name: str | None,
    runs: Path,
    *,
    until: str | None,
    partial: bool = False,
    fork: str | None = None,
) -> None:
    def made() -> None:
        from distill.run import make, open_run

        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()), fork=fork)
        make(opened, _progress(), until=until, partial=partial)
        _show(opened, until)

    _guard(made)


def _progress() -> "Progress":
    from rich.console import Console

    from distill.progress import Lines, Terminal

    console = Console(highlight=False)
    if console.is_terminal:
        return Terminal(console)
    return Lines(lambda line: print(line, flush=True))


def _show(opened: "Run", until: str | None) -> None:
    from distill.summary import summaries

    _print(summaries(opened, until))


def _print(renderables: Iterable[Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 80)
    for renderable in renderables:
        console.print(renderable)


def _guard(work: Callable[[], Any]) -> None:
    """Run a command; a person's mistake is told without a traceback (exit code 2), a run's trouble likewise (1).

    A run that stopped at a limit is 3, an interrupted one 130: the same command goes on with both.
    """
    from distill.recipe.file import RecipeError

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        work()
    except RecipeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except (ValueError, RuntimeError) as error:
        if not type(error).__module__.startswith(("distill", "filters")):
            raise
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(getattr(error, "exit_code", 1)) from None
    except KeyboardInterrupt:
        typer.echo("\nStopped. What is finished is kept: the same command goes on from here.", err=True)
        raise typer.Exit(130) from None
