"""Python unit tests: the answer's program passes the prompt's tests, in a cage.

The prompt's constraints: `tests` (a list of sources, each one test; or one source), where wanted
`setup` (put before the program) and `entry_point`, with tests that define `check(candidate)` as
HumanEval's do. Arguments: `partial` (false: all or nothing; true: the share that passes), `seconds`
(10), `memory_mb` (512), `disk_mb` (16). The program is the answer's fenced Python, or the whole
answer where nothing is fenced. It has the standard library and no network, no processes, an empty
environment and a scratch folder that is thrown away; see `_cage` for what holds it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from factory.judging.outcomes import Verdict, failed, good, storable
from factory.judging.verifiers._read import args_of

VERSION = "3"
ISOLATED = True
_CAGE = Path(__file__).with_name("_cage.py")
_FENCED = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*(\w*)[^\n`]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t\r]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
_MOST = 200_000


def program_in(text: str) -> str:
    """The fenced Python of an answer, several blocks joined; else the whole answer.

    Blocks without a language count where none is called Python: beside one they show what a
    program prints. A last block may be open, and blocks may be indented as lists are.
    """
    blocks = [(m[2].lower(), textwrap.dedent(m[3])) for m in _FENCED.finditer(text)]
    python = [code for language, code in blocks if language in ("python", "py", "python3")]
    python = python or [code for language, code in blocks if not language]
    return "\n".join(python) if python else text


def tests_in(args: Mapping[str, object]) -> list[str]:
    """The tests as sources, HumanEval's made one that calls `check`."""
    found = args.get("tests", args.get("test"))
    listed = [found] if isinstance(found, str) else cast("Sequence[object]", found or [])
    tests = [str(t) for t in listed]
    entry = args.get("entry_point")
    return [f"{t}\ncheck({entry})\n" for t in tests] if entry else tests


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where every test passes, else 0.0 (or the share), with why the program ended."""
    args = args_of(prompt)
    tests = tests_in(args)
    if not tests:
        return failed("error", "prompt_has_no_tests")
    program = storable(program_in(text))
    if len(program) > _MOST:
        return good(0.0, reason="program_too_long")
    setup = str(args.get("setup", ""))
    found = run(
        f"{setup}\n{program}" if setup else program,
        tests,
        seconds=float(str(args.get("seconds", 10))),
        memory_mb=int(str(args.get("memory_mb", 512))),
        disk_mb=int(str(args.get("disk_mb", 16))),
    )
    if found is None:
        return failed("error", "the_cage_failed")
    passed, ended = found["passed"], str(found["ended"])
    if ended in ("tests_do_not_compile", "cage_failed"):
        return failed("error", "the_cage_failed" if ended == "cage_failed" else ended)
    if all(passed):
        return good(1.0)
    score = sum(passed) / len(passed) if args.get("partial") else 0.0
    return good(score, reason="test_failed" if ended in ("done", "") else ended)


def run(
    program: str, tests: Sequence[str], *, seconds: float, memory_mb: int, disk_mb: int
) -> dict[str, Any] | None:
    """What the cage says: `passed` per test, why it `ended`, whether it was `isolated`."""
    asked = {
        "program": program, "tests": list(tests), "seconds": seconds, "memory_mb": memory_mb,
        "disk_mb": disk_mb,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cage-", ignore_cleanup_errors=True) as scratch:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_CAGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
            env={},
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(json.dumps(asked).encode(), timeout=seconds + 10)
            return cast("dict[str, Any]", json.loads(said))
        except (subprocess.TimeoutExpired, ValueError):
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
