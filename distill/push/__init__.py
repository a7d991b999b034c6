"""Publishing: a run's dataset or student in a repository on the Hub. The one command that acts on the world.

Private unless told otherwise, and only where the repository really is what was asked for. What the Hub holds is read
before and after, so that a push which is repeated, or whose answer was lost, sends nothing twice. `parcel.py` has what
is published, of a dataset (`dataset.py`) or a student (`model.py`), `leaks.py` what must not be, `card.py` the meeting
of our card with what people wrote into it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from distill.hub.repo import BusyError, Change, File, Head, HubError, Repo
from distill.push import leaks
from distill.push.card import CARD, head_of, merged
from distill.push.parcel import LOCK, Parcel, PushError, locked

__all__ = ["Parcel", "Plan", "PushError", "Pushed", "plan", "push"]

FILES_PER_COMMIT = 50
"""More than these make several commits, of which the card and the lock are in the last."""
ATTEMPTS = 6
"""Times that the Hub may refuse for the moment, or not answer."""
WAIT_S = 2.0
"""Before the second attempt; doubled each time."""


@dataclass(frozen=True)
class Plan:
    """What a push has to do, as the repository is now."""

    head: Head | None
    """None where it has to be created."""
    wanted: Mapping[str, File]
    changes: list[Change]
    card: str
    """Ours, with what people wrote into theirs."""
    card_there: str
    replaced: list[str]
    """Headings of generated sections that somebody edited on the Hub, which are written anew."""


@dataclass(frozen=True)
class Pushed:
    """What came of it."""

    url: str
    commit: str
    commits: int
    """How many were made; none where the Hub held everything already."""
    changed: int
    sent_bytes: int
    """At most: what the Hub has in its storage already is not sent again."""


def plan(parcel: Parcel, repo: Repo, *, public: bool, commits: int = 0) -> Plan:
    """Read the repository and compare; changes nothing anywhere. Raises PushError where a push must not be.

    `commits` are those that the same push has made already.
    """
    head = repo.head()
    if head is not None:
        _check_visibility(repo, head, public, commits)
    there = (repo.read(CARD, head) if head else None) or ""
    lock = locked(repo.read(LOCK, head) if head else None)
    card, replaced = merged(parcel.card, there, lock.sections)
    wanted = {**parcel.files, CARD: File(card.encode())}
    leaks.check({CARD: wanted[CARD]})
    held = head.files if head else {}
    changes = [Change(path, file) for path, file in wanted.items() if path not in held or not held[path].holds(file)]
    gone = [path for path in held if path not in wanted and path in lock.files]
    _check_strangers(repo, [path for path in held if path not in wanted and path not in gone], parcel)
    return Plan(head, wanted, changes + [Change(path, None) for path in gone], card, there, replaced)


def push(parcel: Parcel, repo: Repo, *, public: bool, say: Callable[[str], None]) -> Pushed:
    """Make the repository hold the parcel: in one commit, or none where it does already.

    Raises PushError where it may not be done, HubError where the Hub does not do it; both say what to do.
    """
    trouble, commits, changed, size = 0, 0, 0, 0
    sent: list[Change] = []
    while True:
        try:
            todo = plan(parcel, repo, public=public, commits=commits)
            if not commits and todo.card != todo.card_there:
                repo.check_card(head_of(todo.card))
            if todo.head is None:
                say(f"creating {repo.id}, {'public' if public else 'private'}")
                repo.create(private=not public)
                todo = plan(parcel, repo, public=public, commits=commits)
            if todo.head is None:
                raise HubError(f"{repo.id} was created, but cannot be seen; may this token read it?")
            _check_arrived(repo, sent, todo)
            if not todo.changes:
                return Pushed(repo.url, todo.head.commit, commits, changed, size)
            part = _next_commit(todo.changes)
            sent = []
            repo.commit(part, todo.head, parcel.message)
        except BusyError as error:
            trouble += 1
            if trouble == ATTEMPTS:
                raise HubError(f"{error}\nGiven up after {ATTEMPTS} attempts; the same command goes on.") from error
            wait = max(WAIT_S * 2 ** (trouble - 1), error.after_s)
            say(f"{error}; looking again in {wait:.0f} s")
            time.sleep(wait)
            continue
        sent, commits, changed = part, commits + 1, changed + len(part)
        size += sum(change.file.size for change in part if change.file)


def _check_visibility(repo: Repo, head: Head, public: bool, commits: int) -> None:
    """The client ignores the visibility that is asked for where a repository exists, so it is read."""
    if head.private == public:
        is_, asked = ("private", "--public") if public else ("public", "no --public")
        cure = (
            "make it public in its settings on the Hub, or leave --public out"
            if public
            else "make it private in its settings on the Hub, push to another, or say --public if the world may read it"
        )
        sent = "It was changed while this command pushed, and has its rows" if commits else "It got nothing from us"
        raise PushError(f"{repo.id} is {is_}, but the command has {asked}. {sent}; {cure}.")


def _check_strangers(repo: Repo, others: list[str], parcel: Parcel) -> None:
    """No file that we did not write lies where `datasets` would read it with ours."""
    strangers = [path for path in others if parcel.rivals.fullmatch(path)]
    if strangers:
        raise PushError(
            f"{repo.id} holds {', '.join(strangers[:3])}, which no push of ours wrote and which would be read as part "
            f"of the {parcel.kind}; delete it there, or push to another repository"
        )


def _check_arrived(repo: Repo, sent: list[Change], todo: Plan) -> None:
    still = {change.path for change in todo.changes} & {change.path for change in sent}
    if still:
        raise HubError(
            f"{repo.id}: read again after the commit, it does not hold what was sent under {', '.join(sorted(still))}; "
            "did somebody change it meanwhile, or does its .gitattributes or .gitignore name it?"
        )


def _next_commit(changes: list[Change]) -> list[Change]:
    """All changes if one commit may hold them; else rows first, and what says that they are complete last."""
    if len(changes) <= FILES_PER_COMMIT:
        return changes
    last = [change for change in changes if change.path in (CARD, LOCK) or change.file is None]
    rows = [change for change in changes if change not in last]
    return rows[:FILES_PER_COMMIT] or last[:FILES_PER_COMMIT]
