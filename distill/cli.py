"""The command line. Configures logging; everything else is the library's, and `console` writes it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.console import complain, progress, say, show

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
                complain(f"--filters {folder}: {error}")
                raise typer.Exit(2) from None
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


@app.command(short_help="Make what is missing or out of date.")
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
            show(show_outcomes(opened, outcomes(opened, [parse_change(change) for change in what_if])))
        if overlap:
            show(show_overlaps(overlaps(opened)))

    _guard(replayed)


_stage_command("dataset", "Write the dataset and its card.")
_stage_command("student", "Train the students.")
_stage_command("report", "Measure teacher and students on the held-out problems.")


@app.command()
def plan(
    recipe: RecipePath,
    probe: Annotated[
        int, typer.Option(min=2, help="Problems to sample for it; the run takes these samples over.")
    ] = 16,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Sample nothing; go by the samples of this run."),
    ] = None,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    filters: Filters = None,
) -> None:
    """Say what sampling will cost: tokens, hours, money, disk. The problems are made first, if missing."""

    def planned() -> None:
        from distill.plan import plan
        from distill.plan.words import show_plan
        from distill.run import open_run, prepare

        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()))
        shown = progress()
        teacher = prepare(opened, shown)
        with opened.lock():
            show(show_plan(plan(opened, shown, teacher=teacher, probed=probe, earlier=earlier)))

    _guard(planned)


@app.command(short_help="Say all that is wrong with a recipe.")
def check(
    recipe: RecipePath,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Check every row as each student's tokenizer and template make it; say what training will cost.",
        ),
    ] = False,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    filters: Filters = None,
) -> None:
    """Say everything that is wrong with a recipe, without loading a model."""

    def checked() -> None:
        from distill.recipe.file import load_recipe

        loaded = load_recipe(recipe, overrides or ())
        stages = [stage for stage in type(loaded).model_fields if getattr(loaded, stage) is not None]
        say(f"{recipe}: ok ({', '.join(stages)})")
        if deep:
            _check_students(recipe, overrides, name, runs)

    _guard(checked)


def _check_students(recipe: Path, overrides: list[str] | None, name: str | None, runs: Path) -> None:
    from distill.run import check_made, open_run, others
    from distill.store import RunError
    from distill.student.checks import PreflightError
    from distill.student.preflight import preflights
    from distill.student.words import show_preflight

    opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()))
    if opened.recipe.student is None:
        raise RunError(f"the recipe of {opened.name} has no section student, so --deep has nothing to look at")
    try:
        check_made(opened, "verdicts" if opened.recipe.dataset is None else "dataset")
    except RunError as error:
        say(f"the rows may be others in the end: {error}")
    wrong = False
    for seen in preflights(opened, others(opened)):
        show(show_preflight(seen, opened.recipe.student))
        if seen.faults:
            wrong = True
            complain(f"PreflightError: {PreflightError(seen.arm, seen.faults)}")
    if wrong:
        raise typer.Exit(1)


@app.command(short_help="Judge some verdicts a second time, and count errors.")
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
        show(show_audit(opened, audit(opened, entries, rows=rows, seed=seed)))

    _guard(audited)


@app.command(short_help="Publish the dataset, or a student, on the Hub, privately.")
def push(
    recipe: RecipePath,
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its id on the Hub: owner/name.")],
    student: Annotated[
        str | None, typer.Option(metavar="ARM", help="Publish this student, in place of the dataset.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="REPOSITORY", help="Where the student's dataset is, for its card to link.")
    ] = None,
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
    """Publish the dataset, or with --student a student, on the Hub: privately, unless --public is typed."""

    def pushed() -> None:
        from distill.hub.repo import Repo
        from distill.push import PushError, leaks, plan, push
        from distill.push.dataset import dataset_parcel
        from distill.push.model import model_parcel, published
        from distill.push.words import show_plan, show_pushed
        from distill.run import check_made, open_run

        if dataset and not student:
            raise PushError("--dataset is what the card of a student links: say --student ARM too")
        repo = Repo("model" if student else "dataset", repository)
        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()))
        with opened.lock():
            check_made(opened, "student" if student else "dataset")
            if student:
                origin = published(opened, dataset) if dataset else None
                parcel = model_parcel(opened, student, repository, origin=origin, report=report)
            else:
                parcel = dataset_parcel(opened, repository, report=report)
            leaks.check(parcel.files, allow or ())
            if dry_run:
                show(show_plan(parcel, repo, plan(parcel, repo, public=public), public=public))
            else:
                done = push(parcel, repo, public=public, say=say)
                show(show_pushed(done))

    _guard(pushed)


@app.command(short_help="Look at a run in the browser; label its rows.")
def view(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of the run, its folder, or its recipe.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of 127.0.0.1; 0 is any that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Look at a run in the browser, finished or still sampling: read, compare and label its rows."""

    def viewed() -> None:
        import secrets
        import webbrowser

        from distill.store import RunError, find_run

        try:
            from distill.view.server import serve
        except ModuleNotFoundError as error:
            raise RunError(f"{error.name} is not installed: pip install 'distill[view]'") from None
        name = Path(run).stem if Path(run).suffix in (".yaml", ".yml") else run

        def tell(address: str) -> None:
            say(address)
            if browser:
                webbrowser.open(address)

        serve(find_run(Path(name), runs), port=port, token=secrets.token_urlsafe(24), say=tell)

    _guard(viewed)


@app.command(short_help="Say which of two models is better, or that it is noise.")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="RUN or RUN:MODEL; a run's name, its folder, or its recipe.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one. Without a MODEL, the run's students.")],
    runs: Runs = Path("runs"),
) -> None:
    """Compare models on problems that both were measured on: paired differences, with intervals, and what is noise."""

    def compared() -> None:
        from distill.report.compare import differences, read_side, show_differences
        from distill.store import find_run

        sides = []
        for given in (a, b):
            run, _, model = given.partition(":")
            name = Path(run).stem if Path(run).suffix in (".yaml", ".yml") else run
            folder = find_run(Path(name), runs)
            sides.append(read_side(folder.name, folder, model or None))
        show(show_differences(differences(*sides)))

    _guard(compared)


@app.command("filters", short_help="List the filters, or show one in full.")
def list_filters(
    name: Annotated[str | None, typer.Argument(metavar="FILTER", help="Show this one in full.")] = None,
    filters: Filters = None,
) -> None:
    """List the filters, or show one with its reasons and parameters."""

    def listed() -> None:
        from distill.summary import show_filter, show_filters

        show(show_filter(name) if name else show_filters())

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
        from distill.summary import summaries

        opened = open_run(recipe, runs=runs, name=name, overrides=tuple(overrides or ()), fork=fork)
        make(opened, progress(), until=until, partial=partial)
        show(summaries(opened, until))

    _guard(made)


def _guard(work: Callable[[], Any]) -> None:
    """Run a command; a person's mistake is told without a traceback (exit code 2), a run's trouble likewise (1).

    A run that stopped at a limit is 3, an interrupted one 130: the same command goes on with both.
    """
    from distill.recipe.file import RecipeError

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        work()
    except RecipeError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except (ValueError, RuntimeError) as error:
        if not type(error).__module__.startswith(("distill", "filters")):
            raise
        complain(f"{type(error).__name__}: {error}")
        raise typer.Exit(getattr(error, "exit_code", 1)) from None
    except KeyboardInterrupt:
        complain("\nStopped. What is finished is kept: the same command goes on from here.")
        raise typer.Exit(130) from None
