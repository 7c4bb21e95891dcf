r"""Many patterns in hostile text at once: which of a set match, in one pass.

RE2 (Cox 2007, https://swtch.com/~rsc/regexp/) reads a text in time linear in its length, whatever a
completion holds, and looks for all patterns of a set together. It knows no looking ahead and takes
`\b`, `\w` and `\s` for ASCII, so the patterns are English in folded text, or plain stems.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import re2  # pyright: ignore[reportMissingTypeStubs]  # has none

_NEGATIVE = re.compile(r"\(\?!(?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
_MEMORY = 64 << 20


class Patterns:
    """Named patterns, `^` and `$` at every line.

    One that forbids what follows, `(?!...)`, is looked for without that and confirmed by `re`.

    Raises:
        ValueError: RE2 does not know a pattern's syntax; names it.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        options = re2.Options()
        options.max_mem, options.log_errors = _MEMORY, False
        self.names = tuple(patterns)
        self._set = re2.Set.SearchSet(options)
        ahead = {name: pattern for name, pattern in patterns.items() if "(?!" in pattern}
        self._confirm = {n: re.compile(p, re.MULTILINE | re.ASCII) for n, p in ahead.items()}
        for name, pattern in patterns.items():
            plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), _NEGATIVE.sub("", pattern))
            try:
                self._set.Add(f"(?m){plain}")
            except re2.error as error:
                raise ValueError(f"pattern {name}: {error}") from error
        self._set.Compile()

    def found(self, text: str) -> list[str]:
        """The names of the patterns that match somewhere in a text, in the order given."""
        which = self._set.Match(text.encode("utf-8", "replace"))
        names = [self.names[i] for i in sorted(which)] if which else []
        return [n for n in names if n not in self._confirm or self._confirm[n].search(text)]
