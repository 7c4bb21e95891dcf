"""Keeps one command running until the standard input ends.

It is `python -m factory.judging.local.keeper CMD`.

The input is a pipe from whoever needs the command. It closes when that process closes it, and also
when it is killed, so a server never outlives its user. The command's children end with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

from factory.judging.isolate import die_with_parent

GRACE_S = 15.0


def main() -> int:
    """Run the command; gives its exit code, or 0 when it was ended because the input ended."""
    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=die_with_parent,  # also when we are killed ourselves
    )
    # Our own group is signalled from a terminal or a scheduler: the pipe decides, not they.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asked = threading.Event()

    def listen() -> None:
        while os.read(0, 4096):
            pass
        asked.set()
        _end(child)

    threading.Thread(target=listen, daemon=True).start()
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)  # whatever it left behind
    return 0 if asked.is_set() else code


def _end(child: subprocess.Popen[bytes]) -> None:
    _signal(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        _signal(child.pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
