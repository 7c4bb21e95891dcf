"""The command line: typer verbs that parse words, call one function and print what it returns.

Exit codes: 0 done, 1 failed, 2 wrong usage, 75 stopped but resumable (budget, signal).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

from factory.cli import data, look, models, walk
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

for _room in (walk, data, models, look):
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
        sys.exit(say_error(error))
    except KeyboardInterrupt:
        sys.exit(say_error(Stopped("stopped by the keyboard", next="the same command goes on")))


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped("stopped by a signal", next="the same command goes on")
