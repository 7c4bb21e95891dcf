"""One command says of every pool what was kept, what was left out, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factory.cli import app
from factory.store import open_store

Jsonl = Callable[..., Path]


def run(workspace: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--workspace", str(workspace)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    open_store(tmp_path / "ws", create=True).close()
    return tmp_path / "ws"


def test_a_pools_report_names_every_reason_and_licence(workspace: Path, jsonl: Jsonl) -> None:
    item = "Nine children share 45 marbles equally; how many marbles does each child get?"
    bench = jsonl([{"prompt": item}], "bench.jsonl")
    rows: list[Any] = [
        {"prompt": "Name three rivers of the north.", "license": "MIT"},
        {"prompt": "Name three rivers of the north.", "license": "MIT"},
        {"prompt": "name Three rivers, of the North!"},
        {"prompt": item.upper()},
        {"prompt": "Tell me everything. " * 20},
        {"prompt": "How do I kill a process?"},
        b'{"prompt": ',
    ]
    source = jsonl(rows)
    run(workspace, "prompts", "add", str(source), "--pool", "a", "--against", str(bench),
        "--near-duplicates", "--max-chars", "200")  # fmt: skip
    run(workspace, "prompts", "add", str(bench), "--pool", "b")
    found = json.loads(run(workspace, "prompts", "report", "--pool", "a", "--json"))
    said = {(r["what"], r["reason"]): r["prompts"] for r in found["pool_report"]}
    assert said == {
        ("kept", "prompts"): 2,
        ("kept", "tagged violence"): 1,
        ("kept", "without a licence"): 1,
        ("left out", "contaminated"): 1,
        ("left out", "duplicate"): 1,
        ("left out", "malformed_json"): 1,
        ("left out", "near_duplicate"): 1,
        ("left out", "too_long"): 1,
    }
    (share,) = [r["share"] for r in found["pool_report"] if r["reason"] == "too_long"]
    assert share == round(1 / 7, 4)
    assert [(r["pool"], r["prompts"]) for r in found["contamination"]] == [("a", 1)]
    both = json.loads(run(workspace, "prompts", "report", "--json"))
    assert {r["pool"] for r in both["pool_report"]} == {"a", "b"}


def test_made_prompts_are_shown_with_where_they_came_from(workspace: Path, jsonl: Jsonl) -> None:
    run(workspace, "prompts", "add", str(jsonl([{"prompt": f"Name {i}."} for i in range(9)])),
        "--pool", "seeds", "--gate", "0", "--dev", "0")  # fmt: skip
    run(workspace, "prompts", "make", "constraints", "--pool", "new", "--from", "seeds", "--rows",
        "5")  # fmt: skip
    found = json.loads(run(workspace, "prompts", "report", "--json"))
    assert [(r["pool"], r["maker"], r["prompts"]) for r in found["made_by"]] == [
        ("new", "constraints", 5)
    ]
    store = open_store(workspace)
    (row,) = store.rows("select prompt_id, parent_ids from made_prompts limit 1")
    shown = json.loads(run(workspace, "show", row["prompt_id"], "--json"))
    assert [r["table"] for r in shown] == ["prompts", "makings", "prompts (parent_ids)"]
    assert shown[2]["prompt_id"] == row["parent_ids"][0]


_ADD = """
import resource, sys
from pathlib import Path
from factory.prompting.ingest import add_prompts
from factory.store import open_store
store = open_store(Path(sys.argv[1]), create=True)
report = add_prompts(store, sys.argv[2], pool="p", run_id="r")
print(report.added, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak(tmp_path: Path, n: int) -> int:
    """Peak memory, in KiB, of a process that adds a file of `n` prompts."""
    source = tmp_path / f"{n}.jsonl"
    with source.open("w") as file:
        for i in range(n):
            file.write(json.dumps({"prompt": f"Tell me about thing {i}. " * 12}) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", _ADD, str(tmp_path / f"ws{n}"), str(source)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    added, peak = done.stdout.split()
    assert int(added) == n
    return int(peak)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten times the rows, 27 MB more text: the peak is that of a batch."""
    small, large = _peak(tmp_path, 10_000), _peak(tmp_path, 100_000)
    assert large <= 1.15 * small
