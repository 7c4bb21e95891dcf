"""Runs a verifier in child processes that are killed at a time limit.

A hostile answer can make sympy or a regular expression run for hours inside one C call, which no
signal handler and no thread can interrupt. `python -m factory.judging.isolate NAME` is the child:
one JSON object a line in, one out.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any

from factory.judging import verifiers
from factory.judging.outcomes import Verdict, failed

MEMORY_BYTES = 4 << 30
PIPE = 1 << 12
"""Bytes that a pipe which can be written at all takes without waiting."""
START_SECONDS = 60.0
"""Added to the first answer's limit: the child imports its libraries for it."""

Item = tuple[Mapping[str, object], str]


class Child:
    """One child process, started when it is first needed and after it was killed."""

    def __init__(self, verifier: str, *, timeout_s: float) -> None:
        self._verifier = verifier
        self._timeout = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def __call__(self, prompt: Mapping[str, object], text: str) -> Verdict:
        """The verdict on one text; `error` when the child was killed or died."""
        fresh = self._process is None
        process = self._process or self._start()
        line = json.dumps({"prompt": dict(prompt), "text": text}) + "\n"
        until = time.monotonic() + self._timeout + (START_SECONDS if fresh else 0.0)
        try:
            self._write(process, line.encode(), until)
            answer = self._read(process, until)
        except TimeoutError:
            self.close()
            return failed("error", "time_limit")
        except (OSError, EOFError):
            self.close()
            return failed("error", "verifier_died")
        return Verdict(**json.loads(answer))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "factory.judging.isolate", self._verifier]
        self._buffer = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def _write(self, process: subprocess.Popen[bytes], line: bytes, until: float) -> None:
        """A text is longer than a pipe holds: a child that does not read must not hold us."""
        assert process.stdin is not None
        pipe, left = process.stdin.fileno(), memoryview(line)
        os.set_blocking(pipe, False)
        while left:
            seconds = until - time.monotonic()
            if seconds <= 0 or not select.select([], [pipe], [], seconds)[1]:
                raise TimeoutError
            left = left[os.write(pipe, left[:PIPE]) :]

    def _read(self, process: subprocess.Popen[bytes], until: float) -> bytes:
        assert process.stdout is not None
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise EOFError
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        """Kill the child, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            process.wait()


def verify_all(verifier: str, items: Iterable[Item], *, timeout_s: float) -> list[Verdict]:
    """Verdicts on many texts, in the order given, by a few children side by side."""
    listed = list(items)
    n = max(1, min(os.cpu_count() or 1, 8, len(listed) // 32))
    children = [Child(verifier, timeout_s=timeout_s) for _ in range(n)]

    def work(k: int) -> list[Verdict]:
        return [children[k](prompt, text) for prompt, text in listed[k::n]]

    try:
        with ThreadPoolExecutor(n) as pool:
            parts = list(pool.map(work, range(n)))
    finally:
        for child in children:
            child.close()
    return [parts[i % n][i // n] for i in range(len(listed))]


# --- the child -------------------------------------------------------------------------------


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    die_with_parent()


def die_with_parent() -> None:
    """A child that hangs does not see its pipe close when the parent is killed."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _serve(verifier: verifiers.Verifier, requests: IO[str], answers: IO[str]) -> None:
    for line in requests:
        asked: dict[str, Any] = json.loads(line)
        verdict = verifier(asked["prompt"], asked["text"])
        values = {name: getattr(verdict, name) for name in Verdict.__slots__}
        answers.write(json.dumps(values) + "\n")
        answers.flush()


def main() -> None:
    """Answer until the input ends. Nothing but answers may reach the standard output."""
    _limit()
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _serve(verifiers.find(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
