"""Where a run tells what it does; the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a run tells what it does; the command line draws it."""

    def stage(self, round: int, name: str, *, total: int | None = None) -> None:
        """A stage begins; `total` is its number of units where known."""
        ...

    def advance(self, n: int = 1, microusd: int = 0) -> None:
        """Units of the present stage are done, and what they cost."""
        ...

    def note(self, text: str) -> None:
        """A sentence for people."""
        ...


class Silent:
    """A progress that says nothing."""

    def stage(self, round: int, name: str, *, total: int | None = None) -> None:
        """Say nothing."""

    def advance(self, n: int = 1, microusd: int = 0) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
