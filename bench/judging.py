"""What judging costs beside a bare loop and beside its peers: one table, or `--json`.

Every contestant is a process of its own that is given the same rendered prompts and asks one
instant endpoint on loopback; the clock runs from its start to its exit. `--peers DIR` makes a
virtual environment for each peer there (once) and measures them too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.judging.asking import body_of
from factory.judging.verb import JudgeReport, blocks_of, missing_tasks, source_for
from factory.recipe.model import Endpoint, Judging
from factory.rows import bucket_of, completion_id_of, prompt_id_of, text_hash
from factory.store import Store, open_store

HERE = Path(__file__).parent
JUDGE = "mt-bench-single"
PEERS = {
    "curator": ["bespokelabs-curator"],
    "datadesigner": ["data-designer"],
    "distilabel": ["distilabel[openai]", "requests"],
}
WORDS = ("claim", "reason", "and", "then", "example", "three", "for", "it", "in", "turn")


@contextmanager
def endpoint(*words: str) -> Iterator[str]:
    """An endpoint of `bench/endpoints` in its own process; gives its URL."""
    command = [sys.executable, str(HERE / "endpoints" / f"{words[0]}.py"), *words[1:]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def stats(url: str) -> dict[str, Any]:
    """What the endpoint saw."""
    with urllib.request.urlopen(f"{url}/stats", timeout=60) as answer:
        return json.load(answer)


def fill(store: Store, count: int) -> None:
    """Prompts with one completion each, of about 600 characters, all different."""
    prompts: list[dict[str, object]] = []
    completions: list[dict[str, object]] = []
    for number in range(count):
        messages = [{"role": "user", "content": f"Question {number}: what follows from it?"}]
        prompt_id = prompt_id_of(messages)
        text = " ".join(
            [f"Answer {number}:", *(WORDS[(number * k) % len(WORDS)] for k in range(110))]
        )
        identity = completion_id_of(
            prompt_id=prompt_id, model_id="m", params_id="p", sample_idx=0, seed=0
        )
        shared = {"prompt_id": prompt_id, "bucket": bucket_of(prompt_id)}
        prompts.append({**shared, "pool": "bench", "messages": json.dumps(messages)})
        completions.append(
            {
                **shared, "completion_id": identity, "model_id": "m", "params_id": "p",
                "sample_idx": 0, "seed": 0, "text": text, "text_hash": text_hash(text),
                "finish_reason": "stop", "origin": "sampled",
            }
        )  # fmt: skip
    store.append("prompts", prompts, run_id="bench")
    store.append("completions", completions, run_id="bench")


def rendered(store: Store, target: Path) -> None:
    """The prompts that our judge would send, as JSON lines for the others."""
    there = Endpoint(base_url="http://127.0.0.1:9/v1", model="judge")
    judging = Judging(judges=(JUDGE,), endpoints={"main": there})
    source = source_for(store, JUDGE, judging)
    ids = [r["completion_id"] for r in store.rows("select completion_id from completions")]
    report = JudgeReport(judge=JUDGE, judge_id=source.judge_id)
    tasks = missing_tasks(store, source, ids, judging, seed=0, replicates=1, done=report)
    with target.open("w", encoding="utf-8") as file:
        for block in blocks_of(store, tasks):
            for task in block.tasks:
                system, user = (m["content"] for m in body_of(block, task, source)["messages"])
                row = {"id": task.judgement_id, "system": system, "user": user}
                file.write(json.dumps(row) + "\n")


def ours(folder: Path, url: str, at_once: int, *more: str) -> list[str]:
    """The verb, as a user types it."""
    there = {"base_url": url, "model": "judge", "max_concurrency": at_once}
    values = [f"judging.endpoints.main.{name}={value}" for name, value in there.items()]
    words = [word for value in [*values, *more] for word in ("--set", value)]
    command = [sys.executable, "-m", "factory", "judge", "--judge", JUDGE, "--json"]
    return [*command, "--workspace", str(folder), *words]


def peer(name: str, environments: Path) -> Path | None:
    """The Python of a peer's own environment, made where it is missing; None where it cannot be."""
    python = environments / name / "bin" / "python"
    if python.exists():
        return python
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    make = [uv, "venv", "-q", "-p", sys.executable, str(environments / name)]
    install = [uv, "pip", "install", "-q", "-p", str(python), *PEERS[name]]
    if any(subprocess.run(step, check=False).returncode for step in (make, install)):
        shutil.rmtree(environments / name, ignore_errors=True)
        print(f"{name} cannot be installed here: it is left out", file=sys.stderr)
        return None
    return python


def timed(command: list[str], url: str) -> tuple[float, int, str]:
    """Seconds of a process, requests that it made, and the last line it said."""
    before, started = stats(url)["answered"], time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(command, check=False, stdout=said, stderr=subprocess.STDOUT)
        seconds = time.perf_counter() - started
        said.seek(0)
        text = said.read()
    if done.returncode:
        raise SystemExit(f"{command[:3]} failed:\n{text[-3000:]}")
    return seconds, stats(url)["answered"] - before, text


def speed(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows a second of every contestant, start-up included: the better of some turns."""
    store = open_store(folder / "filled", create=True)
    fill(store, options.rows)
    rows = folder / "rows.jsonl"
    rendered(store, rows)
    store.close()
    words = [str(rows), str(options.at_once)]
    pythons = {"bare AsyncOpenAI": (Path(sys.executable), "ask_bare.py")}
    for name in PEERS if options.peers else ():
        python = peer(name, options.peers)
        if python is not None:
            pythons[name] = (python, f"ask_{name}.py")
    best: dict[str, float] = {}
    with endpoint("instant") as url:
        for turn in range(options.turns):
            copy = folder / f"turn-{turn}"
            shutil.copytree(folder / "filled", copy)
            contests = {"prefactory judge": ours(copy, url, options.at_once)}
            for name, (python, script) in pythons.items():
                contests[name] = [str(python), str(HERE / "peers" / script), url, *words]
            for name, command in contests.items():
                seconds, asked, text = timed(command, url)
                read = _read(copy) if name == "prefactory judge" else int(text.split()[-1])
                if read != options.rows:
                    raise SystemExit(f"{name} read {read} of {options.rows}:\n{text[-2000:]}")
                print(f"measured: {name}: {seconds:.1f} s, {asked} asked", file=sys.stderr)
                best[name] = min(seconds, best.get(name, seconds))
    return _speeds(best, options.rows)


def faults(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every call under injected faults: wrong rows, missing rows, and how the others ended."""
    workspace, calls = folder / "faulty", options.calls
    store = open_store(workspace, create=True)
    fill(store, calls)
    store.close()
    with endpoint("faulty", str(options.rate)) as url:
        more = ["judging.endpoints.main.timeout_s=1.0"]
        seconds, asked, _ = timed(ours(workspace, url, options.at_once, *more), url)
        first, seen = _checked(workspace), stats(url)
        timed([*ours(workspace, url, options.at_once, *more), "--retry", "error"], url)
        last = _checked(workspace)
    injected = sum(seen["faults"].values())
    print(f"injected: {seen['faults']}, typed: {first['reasons']}", file=sys.stderr)
    return [
        line(f"{options.rate:.0%} faults, rows/s", calls / seconds),
        line("  faults injected", injected, asked),
        line("  rows with a wrong verdict", first["wrong"] + last["wrong"], goal="0"),
        line("  rows missing", calls - first["rows"], goal="0"),
        line("  typed errors", first["errors"]),
        line("  typed errors after --retry error", last["errors"]),
        line("  calls not settled in the ledger", last["open"], goal="0"),
    ]


def _checked(workspace: Path) -> dict[str, Any]:
    """Each question's newest row against the grade that its own text makes."""
    store = open_store(workspace)
    rows = store.rows(
        "select c.text, j.status, j.score, j.rationale from judgements j "
        "join completions c using (completion_id) where j.judge = $judge "
        "qualify row_number() over (partition by completion_id order by replicate desc) = 1",
        {"judge": JUDGE},
    )
    (left,) = store.rows("select count(*) n from calls where state not in ('done', 'failed')")
    store.close()
    good = [r for r in rows if r["status"] == "ok"]
    bad = [r for r in rows if r["status"] != "ok"]
    wrong = sum(r["score"] != zlib.crc32(r["text"].encode()) % 10 + 1 for r in good)
    reasons = dict(Counter(f"{r['status']} {r['rationale']}" for r in bad))
    return {"rows": len(rows), "wrong": wrong, "errors": len(bad), "reasons": reasons,
            "open": left["n"]}  # fmt: skip


def _read(workspace: Path) -> int:
    store = open_store(workspace)
    (found,) = store.rows(
        "select count(*) n from judgements where judge = $judge and status = 'ok' and score = 7",
        {"judge": JUDGE},
    )
    store.close()
    return int(found["n"])


def _speeds(best: dict[str, float], rows: int) -> list[dict[str, Any]]:
    mine = rows / best["prefactory judge"]
    peers = [rows / best[name] for name in PEERS if name in best]
    lines: list[dict[str, Any]] = [line("judge, rows/s", mine)]
    for name, seconds in best.items():
        if name != "prefactory judge":
            goal = "ratio >= 1.2" if name.startswith("bare") else ""
            lines.append(line(f"  beside {name}", mine, rows / seconds, goal))
    if peers:
        lines.append(line("  beside the fastest peer", mine, max(peers), "ratio >= 2"))
    return lines


def line(what: str, ours: float, other: float | None = None, goal: str = "") -> dict[str, Any]:
    """One line of the table."""
    ratio = round(ours / other, 2) if other else None
    return {"what": what, "ours": round(ours, 3), "other": other and round(other, 3),
            "ratio": ratio, "goal": goal}  # fmt: skip


def main() -> None:
    """Measure everything and print one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--at-once", type=int, default=64, help="calls in flight, for everybody")
    options.add_argument("--turns", type=int, default=1)
    options.add_argument("--calls", type=int, default=20_000, help="under injected faults")
    options.add_argument("--rate", type=float, default=0.3, help="of faults")
    options.add_argument("--only", choices=["speed", "faults"])
    options.add_argument("--peers", type=Path, help="where the peers' environments are or go")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-judging-"))
    try:
        parts = {"speed": speed, "faults": faults}
        chosen = [part for name, part in parts.items() if given.only in (None, name)]
        found = [made for part in chosen for made in part(folder, given)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for made in found:
        ratio = "" if made["ratio"] is None else f"{made['ratio']:.2f}"
        print(
            f"{made['what']:<44} {made['ours']:>12g} {made['other'] or '':>12} {ratio:>7}  "
            f"{made['goal']}"
        )


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
