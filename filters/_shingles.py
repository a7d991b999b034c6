"""A store of sets of shingles that outgrows memory without harm. Knows nothing of texts or verdicts."""

from os import SEEK_END
from typing import IO

import numpy as np

from filters._tokens import Hashes

HELD = 100_000_000
"""Shingles in memory, 8 bytes each."""


class Shingles:
    """Sets of shingles by place: in memory as far as there is room, the oldest in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.held: dict[int, Hashes] = {}
        self.room = HELD
        self.filed: dict[int, tuple[int, int]] = {}
        """Where in the file, and how many bytes."""

    def __setitem__(self, place: int, shingles: Hashes) -> None:
        self.held[place] = shingles
        self.room -= len(shingles)
        while self.room < 0:
            oldest = next(iter(self.held))
            self._file(oldest, self.held.pop(oldest))

    def __getitem__(self, place: int) -> Hashes:
        if place in self.held:
            return self.held[place]
        start, size = self.filed[place]
        self.file.seek(start)
        return np.frombuffer(self.file.read(size), np.uint64)

    @property
    def held_places(self) -> list[int]:
        """Of the sets in memory."""
        return list(self.held)

    def drop(self, places: list[int]) -> None:
        """Forget sets in memory."""
        self.room += sum(len(self.held.pop(place)) for place in places)

    def _file(self, place: int, shingles: Hashes) -> None:
        self.filed[place] = self.file.seek(0, SEEK_END), self.file.write(shingles.tobytes())
        self.room += len(shingles)
