"""What a run has asked for and what became of it. Does not sample."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Samples that a run asks for, as far as it is known which: with `until`, those that are surely needed."""

    ok: int = 0
    failed: int = 0
    """The last attempt at them failed; they are asked again by the next call."""
    pending: int = 0
    """Nothing is there of them yet."""

    @property
    def requested(self) -> int:
        """All of them."""
        return self.ok + self.failed + self.pending

    def facts(self) -> dict[str, int]:
        """For a manifest."""
        return {"requested": self.requested, "ok": self.ok, "failed": self.failed, "pending": self.pending}

    def __str__(self) -> str:
        return f"requested {self.requested:,} = {self.ok:,} ok + {self.failed:,} failed + {self.pending:,} pending"


class Ledger:
    """The books of one call of `sample`: its caller opens them, and reads them afterwards."""

    def __init__(self) -> None:
        self.counts = Counts()
