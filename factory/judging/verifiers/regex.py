"""Regular expression: the answer has, or lacks, a pattern.

Arguments: `pattern`; `full` (false: anywhere; true: the whole text); `flags` (letters of i, m, s,
x); `absent` (false; true turns the verdict round). Arguments of another type are an error: the word
"no" is no false. A pattern can take exponential time on hostile
text, so this verifier runs in a child process that is killed at its time limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import args_of

VERSION = "2"
ISOLATED = True

_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the pattern is found (or is not, with `absent`)."""
    args = args_of(prompt)
    if "pattern" not in args:
        return failed("error", "no_pattern")
    full, absent = args.get("full") or False, args.get("absent") or False
    letters = str(args.get("flags") or "")
    if not isinstance(full, bool) or not isinstance(absent, bool) or set(letters) - set(_FLAGS):
        return failed("error", "bad_argument")
    flags = re.RegexFlag(0)
    for letter in letters:
        flags |= _FLAGS[letter]
    try:
        pattern = re.compile(args["pattern"], flags) if isinstance(args["pattern"], str) else None
    except (re.error, OverflowError, RecursionError):
        pattern = None
    if pattern is None:
        return failed("error", "bad_pattern")
    found = pattern.fullmatch(text) if full else pattern.search(text)
    return good(float((found is not None) != absent))
