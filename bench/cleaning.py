"""What cleaning finds and what it costs: one table, or `--json`.

Recall and precision are measured on a pool with planted and natural overlaps, and on every item of
each benchmark edited in five ways. Costs are of whole `add_prompts` runs with one filter each and
with none. Memory is of child processes that add pools of 10,000 and 100,000 prompts.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from factory.prompting.cleaning.benchmarks import read_benchmark
from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
from factory.prompting.cleaning.index import Index
from factory.prompting.ingest import add_prompts
from factory.store import open_store

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
PLANTED = ("gsm8k_test.jsonl.gz", "ifeval_prompts.jsonl.gz", "mt_bench_questions.jsonl.gz",
           "ifbench_prompts.jsonl.gz", "alpaca_eval_prompts.parquet")  # fmt: skip
OTHER = ("arena_hard_questions.jsonl.gz",)
APART = (
    ("arena_hard_questions.jsonl.gz", "mt_bench_questions.jsonl.gz"),
    ("gsm8k_train.jsonl.gz", "gsm8k_test.jsonl.gz"),
    ("ifbench_prompts.jsonl.gz", "ifeval_prompts.jsonl.gz"),
)
FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "five benchmarks": {"against": tuple(str(DATA / name) for name in PLANTED)},
    "near-duplicates": {"near_duplicates": True},
    "language": {"lang": ("en",)},
}


def _first_words(text: str) -> str:
    words = text.split()
    return " ".join(words[: max(1, len(words) * 6 // 10)])


EDITS: dict[str, Callable[[str], str]] = {
    "case and spaces": lambda text: "  ".join(text.swapcase().split(" ")),
    "no punctuation": lambda text: re.sub(r"[^\w\s]", "", text),
    "embedded, lines": lambda text: f"Please help me with this.\n\n{text}\n\nThank you very much!",
    "embedded, sentence": lambda text: f"my teacher asked me {text} and i do not know",
    "first 60 % of words": _first_words,
}
Line = tuple[str, float, str]


def planted(data: Path) -> list[Line]:
    """Share found of each kind of overlap in the planted pool."""
    rows = pq.read_table(data / "prompt_pool.parquet").to_pylist()
    found = _index(data, *PLANTED).find([[row["prompt"]] for row in rows])
    hits: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row, matches in zip(rows, found, strict=True):
        kind = row["planted_kind"] or ("natural" if row["match_exact_norm"] else "other")
        total[kind] += 1
        hits[kind] += bool(matches)
    goals = {"exact": "1", "case_space": "1", "natural": "1", "punct": ">= 0.9",
             "embedded": ">= 0.95", "truncated": ">= 0.95", "other": "<= 0.005"}  # fmt: skip
    lines = [(f"planted pool, flagged of {total[k]} {k}", hits[k] / total[k], goals[k])
             for k in goals]  # fmt: skip
    true = sum(hits.values()) - hits["other"]
    known = sum(total.values()) - total["other"]
    lines.append(("planted pool, precision", true / sum(hits.values()), ""))
    lines.append(("planted pool, recall", true / known, ""))
    return lines


def edited(data: Path) -> list[Line]:
    """Share found of every benchmark's items, each edited in each way."""
    lines: list[Line] = []
    for name in (*PLANTED, *OTHER):
        title, items = read_benchmark(None, str(data / name))
        texts = [item.turns[0] for item in items if item.turns]
        index = _index(data, name)
        for edit, change in EDITS.items():
            found = index.find([[change(text)] for text in texts])
            lines.append((f"{title}, {edit}", sum(map(bool, found)) / len(texts), ""))
    return lines


def apart(data: Path) -> list[Line]:
    """Share flagged of pools that were made apart from the benchmark."""
    lines: list[Line] = []
    for pool, bench in APART:
        name, items = read_benchmark(None, str(data / pool))
        found = _index(data, bench).find([item.turns for item in items])
        share = sum(map(bool, found)) / len(found)
        lines.append((f"{name}, flagged against {bench.split('.')[0]}", share, ""))
    return lines


def _index(data: Path, *names: str) -> Index:
    index = Index()
    for name in names:
        title, items = read_benchmark(None, str(data / name))
        for item in items:
            index.add(title, item.name, item.turns)
    return index.seal()


def costs(data: Path, folder: Path) -> list[Line]:
    """Prompts a second of whole runs, the better of two, on the planted pool."""
    pool = data / "prompt_pool.parquet"
    lines: list[Line] = []
    for name, filters in FILTERS.items():
        seconds: list[float] = []
        for turn in range(2):
            store = open_store(folder / f"{name} {turn}", create=True)
            began = time.perf_counter()
            cleaner = open_cleaner(store, CleanSettings(**filters), pool="p")
            report = add_prompts(store, pool, pool="p", run_id="r", cleaner=cleaner)
            seconds.append(time.perf_counter() - began)
            store.close()
        lines.append((f"add, prompts/s, {name}", report.read / min(seconds), ""))
    return lines


def memory(folder: Path, sizes: tuple[int, ...]) -> list[Line]:
    """Peak memory of a child that adds a made pool with benchmarks and near-duplicates on."""
    lines: list[Line] = []
    for size in sizes:
        pool = folder / f"{size}.jsonl"
        make(pool, size)
        words = [sys.executable, __file__, "--child", str(pool)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        goal = "" if size == min(sizes) else f"<= 1.1 of {lines[0][1]:.0f}"
        lines.append((f"peak MiB, {size} prompts", float(said), goal))
    return lines


def make(path: Path, size: int) -> None:
    """Prompts of 20 to 80 words, all different."""
    order = random.Random(size)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "rd", "lm")]
    with path.open("w") as out:
        for _ in range(size):
            text = " ".join(order.choices(words, k=order.randint(20, 80)))
            out.write(json.dumps({"prompt": text}) + "\n")


def child(pool: Path) -> None:
    """Add one file and print the peak resident memory in MiB."""
    settings = CleanSettings(near_duplicates=True, **FILTERS["five benchmarks"])
    store = open_store(pool.with_suffix(""), create=True)
    add_prompts(store, pool, pool="p", run_id="r", cleaner=open_cleaner(store, settings, pool="p"))
    print(peak_mib())


def peak_mib() -> float:
    """Peak resident memory; ru_maxrss would carry over what the parent had when it forked."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--largest", type=int, default=100_000, help="prompts of the largest pool")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    if not DATA.is_dir():
        print(f"cleaning: no recorded pools in {DATA.parent.name}/{DATA.name}, nothing measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = [*planted(DATA), *apart(DATA), *edited(DATA), *costs(DATA, Path(folder))]
        lines += memory(Path(folder), (given.largest // 10, given.largest))
    if given.json:
        print(json.dumps([{"what": w, "value": v, "goal": g} for w, v, g in lines], indent=1))
        return
    for what, value, goal in lines:
        print(f"{what:60} {value:12.4g}  {goal}")


if __name__ == "__main__":
    main()
