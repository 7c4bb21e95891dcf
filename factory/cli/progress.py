"""Draws the progress of a run: a bar with an ETA on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

import typer


class Terminal:
    """Progress of a run on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._begun: float | None = None
        self._name = ""
        self._done = 0
        self._spent = 0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_stage(failed=error is not None)
        if self._bar is not None:
            self._bar.stop()

    def stage(self, round: int, name: str, *, total: int | None = None) -> None:
        """A stage begins."""
        self._end_stage()
        self._name = f"round {round}  {name}" if round else f"set-up   {name}"
        self._begun, self._done, self._spent = time.monotonic(), 0, 0
        if self._bar is not None:
            self._task = self._bar.add_task(self._name, total=total)
        elif total:
            self._print(f"{self._name}: {total} to do")

    def advance(self, n: int = 1, microusd: int = 0) -> None:
        """Units of the stage are done, and what they cost."""
        self._done += n
        self._spent += microusd
        if self._spent and self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{self._name}  {self._spent / 1e6:.2f} USD")
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)

    def total(self, total: int) -> None:
        """The number of units became known."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def note(self, text: str) -> None:
        """A sentence for people."""
        self._print(f"note: {text}")

    def _end_stage(self, *, failed: bool = False) -> None:
        if self._begun is None:
            return
        seconds = time.monotonic() - self._begun
        self._begun = None
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        units = f"  {self._done} units" if self._done else ""
        units += f"  {self._spent / 1e6:.4f} USD" if self._spent else ""
        self._print(
            f"{self._name:<28} {'stopped' if failed else 'done':<8} {seconds:6.1f} s{units}"
        )

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            typer.echo(text, err=True)
