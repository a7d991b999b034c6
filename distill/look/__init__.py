"""Looking at a run, for people: rows with their evidence marked, funnels, thresholds, charts; in a notebook or a shell.

    >>> from distill import Run
    >>> run = Run("quickstart")                  # or Run("runs/quickstart")
    >>> run.funnel                               # where trajectories fell
    >>> run.rejected("language_mix").sample(5)   # five of them, the evidence marked in the text
    >>> run.borderline("length")                 # just above and below the threshold
    >>> run.problem("0b7c")                      # all samples of a problem, side by side

Everything is shown as HTML in a notebook and as text elsewhere, and needs neither. Reads only: nothing here changes a
run. `Judged` does the same for any frame that filters have judged.
"""

from distill.look.judged import Judged
from distill.look.rows import Rows, Siblings
from distill.look.run import Run

__all__ = ["Judged", "Rows", "Run", "Siblings"]
