"""The numbers of a run while it samples, sent to trackio or Weights & Biases.

A thread of its own takes them and talks to the tracker, and sampling never waits for it: a tracker that breaks or hangs
costs points and no sample.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from threading import Event, Thread
from typing import Any, Self

from distill.recipe.trajectories import Track
from distill.store import RunError

EVERY_S = 30.0
WAIT_S = 10.0
"""How long the last point may take, once sampling is over."""


class Tracker:
    """A run of a tracker, for one call of `sample`. Raises RunError where its library cannot be imported.

    `name` is the run's, `facts` are what it shows beside its points, `say` takes a line if the tracker breaks.
    """

    def __init__(self, track: Track, name: str, facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._library, project = track.library, track.project
        try:
            module = import_module(self._library)
        except ImportError as error:
            raise RunError(
                f"trajectories.track: cannot import {self._library} ({error}): pip install {self._library}, or leave "
                "track out"
            ) from None
        self._begin: Callable[[], Any] = lambda: module.init(project=project, name=name, config=dict(facts))
        self._say = say
        self._over = Event()
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread:
            self._thread.join(WAIT_S)
            if self._thread.is_alive():
                self._say(f"  track: {self._library} has not taken the last points in {WAIT_S:.0f} s; going on without")

    def follow(self, numbers: Callable[[], Mapping[str, float]]) -> None:
        """Sampling begins: send a point of these numbers every `EVERY_S` seconds, and one in the end."""
        self._thread = Thread(target=self._send, args=(numbers,), name="track", daemon=True)
        self._thread.start()

    def _send(self, numbers: Callable[[], Mapping[str, float]]) -> None:
        try:
            run = self._begin()
            while not self._over.wait(EVERY_S):
                run.log({**numbers()})
            run.log({**numbers()})
            run.finish()
        except Exception as error:  # whatever a tracker does, sampling goes on
            self._say(f"  track: {self._library} takes no more points, and sampling goes on: {error!r:.300}")
