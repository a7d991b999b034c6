"""When a sample is ended while it is being written."""

from pydantic import PositiveInt

from distill.recipe.section import Section, Share


class Abort(Section):
    """Samples that are doomed are ended while they are being written, and the tokens saved.

    Such a sample is a trajectory with the finish_reason aborted:loop, aborted:language or aborted:budget. It counts as
    drawn and is never accepted: `format`, which the chain must have, rejects it. Aborted samples are asked again where
    their rule is switched off later; no others are.
    """

    loop: bool = True
    """aborted:loop: the same run of tokens again and again, by the filter `repetition` with its defaults."""
    language: bool = True
    """aborted:language: so much is outside the problem's language that the filter `language_mix` with its defaults
    rejects it, also if all the rest of max_tokens were in that language."""
    think_tokens: PositiveInt | None = None
    """aborted:budget: the reasoning has not ended after so many tokens. By default it may take max_tokens."""
    let_run_share: Share = 0.05
    """Share of the doomed samples that run on all the same, chosen by a hash: they show how many of the aborted ones
    would have been accepted, and how many tokens were saved. The report and the card have both."""
