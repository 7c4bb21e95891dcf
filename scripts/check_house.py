"""House rules that no linter has: lengths, sizes, and nothing of one machine in the repository.

Prints one line per finding as `path:line: what`, and exits 1 where there is any.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE_ROOMS = ("factory/", "flows/")
CONTENT_ROOMS = ("flows", "judges", "prompts", "recipes", "storage")
MOST_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_BYTES = 500_000

# Classes of one character keep these patterns from finding themselves.
FOREIGN = {
    "a package registry's address": re.compile(
        r"p[y]pi[.]org|python[h]osted[.]org|np[m]js[.]|download[.]pytorch[.]|anaconda[.]org|--(extra-)?index-ur[l]"
    ),
    "a path of one machine": re.compile(
        r"(?<![\w.})$\]])/(wor[k]|roo[t]|hom[e]/\w+|User[s]/\w+|op[t]/(wheels|pypi))(/|\b)"
    ),
    "a private key": re.compile(r"BEGIN [A-Z ]*PRIVATE KE[Y]"),
}


def main() -> int:
    """Check every file that git knows or would add."""
    findings = [found for path in tracked() for found in findings_of(path)]
    for finding in findings:
        print(finding)
    print(f"house: {len(findings)} findings" if findings else "house: in order")
    return 1 if findings else 0


def tracked() -> list[str]:
    """Paths of tracked files, and of new ones that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in set(listed.split("\0")) if (ROOT / path).is_file())


def findings_of(path: str) -> Iterator[str]:
    """Everything that is wrong with one file."""
    file = ROOT / path
    if file.stat().st_size > MOST_BYTES:
        yield f"{path}:1: {file.stat().st_size} bytes, of {MOST_BYTES} at most"
        return
    if file.name == "__init__.py" and path.startswith(tuple(f"{r}/" for r in CONTENT_ROOMS)):
        yield f"{path}:1: a content room is no package"
    text = file.read_text(errors="replace")
    yield from foreign(path, text)
    if path.startswith(CODE_ROOMS) and path.endswith(".py"):
        yield from lengths(path, text)


def foreign(path: str, text: str) -> Iterator[str]:
    """Lines that only make sense on somebody's machine."""
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FOREIGN.items():
            if pattern.search(line):
                yield f"{path}:{number}: {what}"


def lengths(path: str, source: str) -> Iterator[str]:
    """A file, or functions in it, that are too long to read."""
    lines = source.count("\n")
    if lines > MOST_LINES:
        yield f"{path}:{lines}: {lines} lines, of {MOST_LINES} at most"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            if length > MOST_FUNCTION_LINES:
                most = f"{length} lines, of {MOST_FUNCTION_LINES} at most"
                yield f"{path}:{node.lineno}: {node.name} has {most}"


if __name__ == "__main__":
    sys.exit(main())
