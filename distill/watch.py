"""Looks on while an engine answers: how long each sample took, and beside how many others."""

import time
from collections.abc import Callable, Iterator

from distill.lineage import Key


class Watch:
    """One call of `sample`, by a clock that only goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.since: dict[Key, float] = {}
        """When each sample in flight was asked for."""
        self._first: Key | None = None
        self._began: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the first request, loading the weights not included."""
        return 0.0 if self._began is None else self._clock() - self._began

    def asks(self, key: Key) -> None:
        """The request for a sample is handed to the engine."""
        self._first = self._first or key
        self.since[key] = self._clock()

    def asked(self, key: Key) -> None:
        """The engine asks for another request. With the first one it has loaded its weights meanwhile."""
        if key == self._first and self._began is None:
            self._began = self._clock()
            if key in self.since:
                self.since[key] = self._began

    def running(self) -> Iterator[tuple[Key, float]]:
        """Samples in flight, and since how many seconds."""
        now = self._clock()
        return ((key, now - since) for key, since in self.since.items())

    def finished(self, key: Key) -> tuple[float, int]:
        """Seconds that a sample took, and samples that were in flight when it finished, itself included."""
        in_flight = len(self.since)
        return self._clock() - self.since.pop(key), in_flight
