"""`prefactory sql` without a query: a prompt with history, over the rows of each moment."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from factory.cli.common import say, say_error
from factory.errors import FactoryError

if TYPE_CHECKING:
    from factory.store import Store

HISTORY = ".sql_history"
_HELP = """a SELECT that ends with ;     .tables  what there is     .quit  or Ctrl-D"""


def prompt(store: Store, *, ask: Callable[[str], None]) -> None:
    """Read queries until the end of input; `ask` runs one and prints its result."""
    typed = sys.stdin.isatty()
    with _history(store.workspace / HISTORY) if typed else contextlib.nullcontext():
        if typed:
            say(_HELP)
        lines: list[str] = []
        while (line := _line(typed, bool(lines))) is not None:
            if not lines and line.strip().startswith("."):
                if line.strip() in {".quit", ".exit"}:
                    return
                say("  ".join(names(store)) if line.strip() == ".tables" else _HELP)
                continue
            lines.append(line)
            if line == ";":
                lines = []
            elif line.rstrip().endswith(";"):
                _ask(ask, "\n".join(lines))
                lines = []
        if "".join(lines).strip():
            _ask(ask, "\n".join(lines))


def names(store: Store) -> list[str]:
    """Every table and view that a query may name."""
    from factory.rows import SCHEMAS
    from factory.store.tables import LEDGER_TABLES
    from factory.store.views import view_texts

    return sorted([*SCHEMAS, *LEDGER_TABLES, *view_texts(store.workspace)])


def _ask(ask: Callable[[str], None], query: str) -> None:
    text = query.strip().rstrip(";").strip()
    try:
        if text:
            ask(text)
    except FactoryError as error:
        say_error(error)


def _line(typed: bool, more: bool) -> str | None:
    if not typed:
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    try:
        return input("   ...> " if more else "sql> ")
    except EOFError:
        say()
        return None
    except KeyboardInterrupt:
        say()
        return ";"  # drops what was begun


@contextlib.contextmanager
def _history(path: Path) -> Iterator[None]:
    """Arrow keys and Ctrl-R, remembered in the workspace; without readline, plain lines."""
    try:
        import readline
    except ImportError:  # not built into every Python
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(path)
