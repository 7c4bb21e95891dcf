"""The command line: typer verbs that parse words, call one function and print what it returns.

Exit codes: 0 done, 1 failed, 2 wrong usage, 75 stopped but resumable (budget, signal).
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from types import FrameType

from factory.cli import auditing, data, look, models, pools, upkeep, walk
from factory.cli.common import app, say_error
from factory.errors import FactoryError, Stopped

__all__ = ["app", "main"]

QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Telemetry of every dependency is off unless the environment says otherwise (law 15)."""

for _room in (walk, pools, data, models, look, auditing, upkeep):
    _room.register(app)


def main() -> None:
    """Entry point of `prefactory`."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("factory").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except FactoryError as error:
        _leave(say_error(error))
    except KeyboardInterrupt:
        _leave(say_error(Stopped("stopped by the keyboard", next="the same command goes on")))
    except SystemExit as done:
        _leave(done.code)


def _leave(code: str | int | None) -> None:
    """End the process with its exit code.

    Prefect's threads keep DuckDB's types alive to the very end, and DuckDB's binding then prints
    pages about leaks: after its clean-up such a process ends without tearing modules down.
    """
    if "prefect" in sys.modules and isinstance(code, int | None):
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # the only way to run them
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped("stopped by a signal", next="the same command goes on")
