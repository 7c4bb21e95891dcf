"""What the store costs beside bare pyarrow and bare DuckDB: one table, or `--json`.

Both sides of a ratio run in one go on the same rows. Sizes are those of a real factory by default
(200,000 prompts, 8 completions each); `--prompts 20000 --wide-prompts 200000` is a tenth of it.
Parts that measure memory run in processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from storage_rows import rows, texts_of

from factory.pairing import Scope, build_pairs
from factory.pairing.build import MEMORY
from factory.rows import SCHEMAS
from factory.store import CallIntent, CallResult, Ledger, Store, open_store
from factory.store.columns import ROW_GROUP
from factory.store.tables import LEDGER_TABLES
from factory.store.views import HIDDEN, ledger_select, view_texts, views_in_order

PER_PROMPT = 8
BATCH = {"completions": 20_000, "judgements": 100_000}
"""Rows a commit: about 20 MB either way."""
SHARD = 2_000
"""Judgements of one shard of `prefactory judge`."""
WIDE_BATCH = 400_000
CALLS = 20_000
VIEWS = ("pair_stats", "length_bias", "coverage", "drops_by_reason", "score_stats", "staleness")


@contextmanager
def clock(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the block's seconds to a name."""
    started = time.perf_counter()
    yield
    into[name] = into.get(name, 0.0) + time.perf_counter() - started


def ingest(store: Store, plain: Path, prompts: int) -> dict[str, Any]:
    """Write the same batches through the store and with bare pyarrow, turn by turn."""
    spent: dict[str, float] = {}
    store.append("prompts", rows("prompts", 0, prompts), run_id="bench")
    (plain / "prompts").mkdir(parents=True)
    pq.write_table(rows("prompts", 0, prompts), plain / "prompts" / "0.parquet")
    texts, total = texts_of(), prompts * PER_PROMPT
    for table, batch in BATCH.items():
        (plain / table).mkdir()
        for first in range(0, total, batch):
            made = rows(table, first, min(first + batch, total), texts)
            with clock(spent, f"{table} store"):
                store.append(table, made, run_id="bench", shard=f"{table}-{first}")
            with clock(spent, f"{table} pyarrow"):
                write_plain(made, plain / table / f"{first}.parquet")
    return {k: round(total / v) for k, v in spent.items()}


def write_plain(data: pa.Table, target: Path) -> None:
    """The same Parquet, without fsync, log or look-up of ids."""
    pq.write_table(data, target, compression="zstd", compression_level=3, row_group_size=ROW_GROUP)


def shards(folder: Path) -> tuple[float, float]:
    """Rows a second of small commits, through the store and with bare pyarrow."""
    spent: dict[str, float] = {}
    store = open_store(folder, create=True)
    for first in range(0, 50 * SHARD, SHARD):
        made = rows("judgements", first, first + SHARD)
        with clock(spent, "ours"):
            store.append("judgements", made, run_id="bench", shard=f"s-{first}")
        with clock(spent, "bare"):
            write_plain(made, folder / f"{first}.parquet")
    store.close()
    return 50 * SHARD / spent["ours"], 50 * SHARD / spent["bare"]


def plain_connection(plain: Path, store: Store) -> duckdb.DuckDBPyConnection:
    """Bare DuckDB on plain Parquet, with the same views."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    for table, schema in SCHEMAS.items():
        if (plain / table).is_dir():
            con.execute(f"create view {table} as from read_parquet('{plain / table}/*.parquet')")
        else:
            con.register(table, schema.empty_table())
    for name in LEDGER_TABLES:
        con.register(f"_{name}", store.ledger.arrow(name, without=HIDDEN.get(name, ())))
        con.execute(f"create temp view {name} as {ledger_select(name)}")
    texts = view_texts(None)
    for name in views_in_order(texts):
        con.execute(f"create temp view {name} as {texts[name].rstrip().rstrip(';')}")
    return con


def pairs_store(workspace: Path, limit: str) -> None:
    """Build pairs through the factory."""
    store = open_store(workspace)
    build_pairs(store, strategy="best_vs_worst", scope=Scope(), run_id="bench", memory_limit=limit)
    store.close()


def pairs_plain(workspace: Path, plain: Path) -> None:
    """The same SQL, statement by statement, in bare DuckDB on plain Parquet."""
    from factory.pairing.build import _Group, _sql
    from factory.pairing.made import drop_rows
    from factory.pairing.scope import Scope, bound_values, bucket_range
    from factory.pairing.strategy import load_strategy

    store = open_store(workspace)
    strategy = load_strategy("best_vs_worst", workspace=None, kind="pairs")
    con = plain_connection(plain, store)
    con.execute("set preserve_insertion_order = false")
    texts = {n: _sql(store, n) for n in ("candidates", "scope", "undecided", "pairs")}
    bound = strategy.values({}) | bound_values(Scope(), ("judge",)) | bucket_range(0, 63)
    made, dropped = _Group(con, strategy, texts, bound).run(strategy_id="s", round=None)
    pq.write_table(made, plain / "pairs.parquet", compression="zstd")
    drops = drop_rows(dropped, strategy=strategy, strategy_id="s", run_id="b", round=None)
    pq.write_table(drops if isinstance(drops, pa.Table) else dropped, plain / "drops.parquet")


def export_store(workspace: Path, out: Path) -> None:
    """Freeze every pair as a version and export it as Parquet and a Hugging Face dataset."""
    from factory.exporting.export import export
    from factory.exporting.versions import freeze

    store = open_store(workspace)
    (strategy,) = store.rows("select distinct strategy_id from pairs")
    version = freeze(
        store, kind="preference", strategy_id=strategy["strategy_id"], name="bench",
        recipe_id="bench", run_id="bench",
    )  # fmt: skip
    started = time.perf_counter()
    export(store, version, format="hf", out=out)
    print(f"export alone: {time.perf_counter() - started:.3f}", file=sys.stderr)


def export_plain(plain: Path) -> None:
    """The same join and the same two forms: DuckDB writes Parquet, `datasets` saves it."""
    from datasets import Dataset

    with duckdb.connect() as con:
        for table in ("pairs", "prompts", "completions"):
            con.execute(f"create view {table} as from read_parquet('{plain / table}/*.parquet')")
        con.execute(
            f"""copy (
              select p.* exclude (bucket), q.messages as prompt,
                [{{'role': 'assistant', 'content': c.text}}] as chosen,
                [{{'role': 'assistant', 'content': r.text}}] as rejected
              from pairs p join prompts q using (prompt_id)
              join completions c on c.completion_id = p.chosen_id
              join completions r on r.completion_id = p.rejected_id
              order by p.bucket, p.pair_id
            ) to '{plain / "export.parquet"}' (format parquet, compression zstd)"""
        )
    made = Dataset.from_parquet(str(plain / "export.parquet"), cache_dir=str(plain / "cache"))
    made.save_to_disk(str(plain / "export"))


def child(part: str, *arguments: object) -> tuple[float, float]:
    """Run a part in its own process: seconds of work and peak GiB."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", part, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


def part(name: str, arguments: list[str]) -> None:
    """What `child` runs."""
    started = time.perf_counter()
    paths = [Path(given) for given in arguments]
    if name == "pairs":
        pairs_store(paths[0], arguments[1] if len(arguments) > 1 else MEMORY)
    elif name == "plain":
        pairs_plain(paths[0], paths[1])
    elif name == "export":
        export_store(paths[0], paths[1])
    else:
        export_plain(paths[0])
    spent = time.perf_counter() - started
    print(f"{spent:.3f} {peak_gib():.3f}")


def peak_gib() -> float:
    """Peak resident memory; ru_maxrss would carry over what the parent had when it forked."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 2**20 if found else float("nan")


def views(store: Store, plain: Path) -> dict[str, tuple[float, float]]:
    """Seconds of each canned view, by the store and by bare DuckDB: the better of five turns.

    Both have their tables attached already; what attaching takes is the last line.
    """
    found: dict[str, tuple[float, float]] = {}
    spent: dict[str, float] = {}
    with clock(spent, "ours"):
        mine = store.connect()
    with clock(spent, "bare"):
        bare = plain_connection(plain, store)
    for name in VIEWS:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(5):
            for con, into in zip((mine, bare), times, strict=True):
                turn: dict[str, float] = {}
                with clock(turn, "t"):
                    con.sql(f"select * from {name}").to_arrow_table()
                into.append(turn["t"])
        found[name] = (min(times[0]), min(times[1]))
    mine.close()
    bare.close()
    found["(every table and view attached)"] = (spent["ours"], spent["bare"])
    return found


async def _calls(ledger: Ledger, at_once: int) -> float:
    from factory.store.journal import Journal

    journal = Journal(ledger, budget_id="b")
    names = iter(range(CALLS))

    async def worker() -> None:
        for number in names:
            name = f"{at_once}-{number}"
            intent = CallIntent(
                call_id=name, kind="chat", endpoint="http://judge", model="m", request_hash=name,
                reserve_microusd=10, run_id="bench",
            )  # fmt: skip
            await journal.send(intent)
            await journal.finish(
                CallResult(call_id=name, state="done", outcome="ok", response="x" * 1000)
            )

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    await journal.close()
    return CALLS / (time.perf_counter() - started)


def calls(folder: Path) -> dict[int, float]:
    """Durable calls a second (an intent and a result each), by how many are in flight."""
    ledger = Ledger(f"sqlite:///{folder / 'bench.sqlite'}", create=True)
    ledger.set_budget("b", limit_microusd=None)
    found = {n: asyncio.run(_calls(ledger, n)) for n in (16, 64, 256)}
    ledger.close()
    return found


def cold(workspace: Path, query: str) -> float:
    """Seconds of a `prefactory sql`, process start included: the better of three."""
    command = [sys.executable, "-m", "factory", "sql", query, "--workspace", str(workspace)]
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - started)
    return best


def wide(folder: Path, prompts: int) -> Path:
    """A workspace of many rows without text."""
    store = open_store(folder, create=True)
    total = prompts * PER_PROMPT
    for table, count in (("prompts", prompts), ("completions", total), ("judgements", total)):
        for first in range(0, count, WIDE_BATCH):
            made = rows(table, first, min(first + WIDE_BATCH, count))
            store.append(table, made, run_id="bench", unique=False)
    store.close()
    return folder


def size_of(folder: Path) -> float:
    """Megabytes below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def main() -> None:
    """Measure everything and print one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--prompts", type=int, default=200_000)
    options.add_argument("--wide-prompts", type=int, default=2_000_000)
    options.add_argument("--json", action="store_true")
    options.add_argument("--part", default="")
    options.add_argument("rest", nargs="*")
    given = options.parse_args()
    if given.part:
        part(given.part, given.rest)
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-storage-"))
    try:
        found = measure(folder, prompts=given.prompts, wide_prompts=given.wide_prompts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for line in found:
        ratio = f"{line['ratio']:.2f}" if line["ratio"] is not None else ""
        print(
            f"{line['what']:<44} {line['ours']:>12} {line['bare']:>12} {ratio:>7}  {line['goal']}"
        )


def copy_plain(store: Store, plain: Path, table: str) -> None:
    """Give the bare side the same rows of a table."""
    (plain / table).mkdir()
    for number, file in enumerate(store.lake.files(table)):
        shutil.copyfile(file, plain / table / f"{number}.parquet")


def measure(folder: Path, *, prompts: int, wide_prompts: int) -> list[dict[str, Any]]:
    """Every line of the table."""
    lines: list[dict[str, Any]] = []

    def line(what: str, ours: float, bare: float | None = None, goal: str = "") -> None:
        ratio = round(ours / bare, 3) if bare else None
        lines.append(
            {"what": what, "ours": round(ours, 3), "bare": round(bare, 3) if bare else "",
             "ratio": ratio, "goal": goal}
        )  # fmt: skip
        print(f"measured: {what}: {ours:.3f} {bare or ''}", file=sys.stderr, flush=True)

    for at_once, rate in calls(folder).items():
        line(f"ledger calls/s, {at_once} in flight", rate, goal=">= 2000")
    store, plain = open_store(folder / "ws", create=True), folder / "plain"
    rates = ingest(store, plain, prompts)
    for table in ("completions", "judgements"):
        goal = "ratio >= 0.7"
        line(f"ingest {table}, rows/s", rates[f"{table} store"], rates[f"{table} pyarrow"], goal)
    line(f"judgements in commits of {SHARD}, rows/s", *shards(folder / "small"))
    line("size, MB", size_of(folder / "ws" / "lake"), size_of(plain))
    mine, bare = [], []
    for _ in range(2):
        mine.append(child("pairs", folder / "ws"))
        bare.append(child("plain", folder / "ws", plain))
    line("pair building, s", min(mine)[0], min(bare)[0], "ratio <= 1.3")
    line("pair building, peak GiB", max(m[1] for m in mine), max(b[1] for b in bare), "<= 1.2")
    copy_plain(store, plain, "pairs")
    exported, plainly = child("export", folder / "ws", folder / "out"), child("export-plain", plain)
    line("freeze and export of all pairs, s", exported[0], plainly[0])
    line("freeze and export, peak GiB", exported[1], plainly[1])
    copy_plain(store, plain, "drops")  # freezing dropped what has no token ids
    for view, (ours, theirs) in views(store, plain).items():
        line(f"view {view}, s", ours, theirs, "" if view.startswith("(") else "ratio <= 1.5")
    line('cold: sql "select 1", s', cold(folder / "ws", "select 1"), goal="<= 1")
    line("cold: sql of a count, s", cold(folder / "ws", "select count(*) from completions"))
    store.close()
    shutil.rmtree(folder / "ws")
    small = child("pairs", wide(folder / "narrow", wide_prompts // 10), "2GB")
    shutil.rmtree(folder / "narrow")
    large = child("pairs", wide(folder / "wide", wide_prompts), "2GB")
    line("pairs of 10x the rows under 2 GB, s", large[0], small[0], "ratio <= 15")
    line("pairs of 10x the rows, peak GiB", large[1], small[1])
    return lines


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "1")
    main()
