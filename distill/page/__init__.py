"""A run as one HTML file for people: `report.html` in its folder, which needs no network and runs no script.

`contents.py` reads what is shown, `render.py` draws it, and each part of the page has a template. Measures nothing:
scores are those of the stage `report`, where the recipe has it.
"""

import re
from collections.abc import Collection
from pathlib import Path

from distill.store import Run, digest, file_digest, write_text

__all__ = ["is_current", "page_path", "write_page"]


def page_path(run: Run) -> Path:
    """Where the page lies."""
    return run.path("report.html")


def write_page(run: Run, stages: Collection[str]) -> None:
    """Write the page from the artifacts of these stages, verdicts among them, unless it is there and made from them."""
    made_from = _made_from(run, stages)
    if _said(page_path(run)) == made_from:
        return
    # Here, so that commands that write no page load no template engine.
    from distill.page.contents import contents
    from distill.page.render import render

    write_text(page_path(run), render({**contents(run, stages), "made_from": made_from}))


def is_current(run: Run) -> bool:
    """Whether the page is there, and what it was made from has not been made anew since."""
    *manifests, _ = (_said(page_path(run)) or "none").split()
    return bool(manifests) and manifests == _made_from(run, manifests[:-1]).split()[:-1]


def _made_from(run: Run, stages: Collection[str]) -> str:
    """The stages, a digest of their manifests, and one of the code that draws the page."""
    manifests = {stage: run.manifest(stage) for stage in type(run.recipe).model_fields if stage in stages}
    code = file_digest(*sorted(path for path in Path(__file__).parent.iterdir() if path.is_file()))
    return " ".join([*manifests, digest(manifests), code])


def _said(page: Path) -> str | None:
    if not page.is_file():
        return None
    with open(page, encoding="utf-8") as file:
        said = re.search(r'<meta name="made-from" content="([\w ]+)">', file.read(2_000))
    return said[1] if said else None
