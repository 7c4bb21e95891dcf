"""Regular expression: the answer has, or lacks, a pattern.

Arguments: `pattern`; `full` (false: anywhere; true: the whole text); `flags` (letters of i, m, s,
x); `absent` (false; true turns the verdict round). A pattern can take exponential time on hostile
text, so this verifier runs in a child process that is killed at its time limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import args_of

VERSION = "1"
ISOLATED = True

_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the pattern is found (or is not, with `absent`)."""
    args = args_of(prompt)
    if "pattern" not in args:
        return failed("error", "no_pattern")
    flags = re.RegexFlag(0)
    for letter in str(args.get("flags", "")):
        flags |= _FLAGS[letter]
    try:
        pattern = re.compile(str(args["pattern"]), flags)
    except re.error:
        return failed("error", "bad_pattern")
    found = pattern.fullmatch(text) if args.get("full") else pattern.search(text)
    return good(float((found is not None) != bool(args.get("absent"))))
