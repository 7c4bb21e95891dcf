"""Dataset versions: an immutable directory whose name is the hash of what is in it.

A version is what training reads and what an export is made of. It holds the exact token ids that
were sampled (`tokens.parquet`), the rows with the hashes of their texts (`rows.parquet`), and a
manifest that says where they came from. Its id depends on nothing but its rows and their strategy,
so the same rows are the same version whoever froze them, and freezing again writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import factory
from factory import rooms
from factory.errors import UserError
from factory.exporting.files import publish, sha256_of, sync_file
from factory.exporting.reading import bucket_groups, rows_that_fit, run, stream
from factory.rows import canonical, content_id
from factory.store import Store

Kind = Literal["preference", "sft"]

TABLES: dict[Kind, str] = {"preference": "pairs", "sft": "sft_examples"}

_TOKENS: dict[Kind, tuple[str, ...]] = {
    "preference": ("pair_id", "prompt_ids", "chosen_ids", "rejected_ids", "weight", "margin"),
    "sft": ("sft_id", "prompt_ids", "completion_ids", "weight"),
}
_HASHED: dict[Kind, tuple[str, ...]] = {
    "preference": (
        "pair_id", "chosen_text_hash", "chosen_token_hash", "rejected_text_hash",
        "rejected_token_hash", "score_chosen", "score_rejected", "weight",
    ),
    "sft": ("sft_id", "text_hash", "token_hash", "score", "weight"),
}  # fmt: skip
"""What a version's identity is made of, row by row."""


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One immutable set of pairs or SFT examples."""

    version_id: str
    kind: Kind
    dir: Path
    n_rows: int
    content_hash: str
    n_trainable: int
    """Rows that have the token ids to train on."""
    manifest: Mapping[str, Any]


def freeze(
    store: Store,
    *,
    kind: Kind,
    strategy_id: str,
    name: str,
    recipe_id: str,
    run_id: str,
    round: int | None = None,
    build_id: str | None = None,
    rows_at_once: int | None = None,
) -> DatasetVersion:
    """Freeze the pairs or SFT examples that a strategy built.

    Args:
        store: where rows are read and the version is registered; the directory is made in its
            workspace, as `datasets/<version_id>/`.
        kind: "preference" or "sft".
        strategy_id: whose rows.
        name: what people call the version.
        recipe_id: the recipe it belongs to.
        run_id: the run that freezes it.
        round: with it, the rows of this run and round; without, every row of the strategy.
        build_id: exactly the rows that this build gave, none of earlier verdicts.
        rows_at_once: rows in memory at once; by default what takes some 300 MB.

    Rows without token ids, of another tokenizer, or whose two sides have different prompts in
    tokens stay in the version and out of `tokens.parquet`, each with a drop.

    Raises:
        UserError: when there is no such row, or two pairs contradict each other.
    """
    chosen: dict[str, Any] = {"strategy_id": strategy_id, "run_id": run_id}
    selection = chosen | {"round": round, "build_id": build_id}
    root = store.workspace / "datasets"
    root.mkdir(parents=True, exist_ok=True)
    aside = root / f".making-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        writing = _Writing(store, kind, selection, aside)
        writing.write(rows_at_once=rows_at_once)
        version_id = content_id("version", {"kind": kind, "content_hash": writing.content_hash})
        final = root / version_id
        if not (final / "manifest.json").is_file():
            manifest = writing.manifest(version_id, name=name, recipe_id=recipe_id)
            (aside / "manifest.json").write_bytes(
                json.dumps(manifest, indent=2, sort_keys=True).encode()
            )
            sync_file(aside / "manifest.json")
            publish(aside, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    version = load_version(store, version_id)
    _register(
        store, version, run_id=run_id, round=round, name=name, recipe_id=recipe_id,
        build_id=build_id,
    )  # fmt: skip
    store.drop("freeze", writing.untrainable(round), run_id=run_id)
    return version


def load_version(store: Store, version_id: str) -> DatasetVersion:
    """The version of that id, or of the only id that begins so.

    Raises:
        UserError: when there is none, or several.
    """
    root = store.workspace / "datasets"
    found = sorted(p for p in root.glob(f"{version_id}*") if (p / "manifest.json").is_file())
    if not version_id.isalnum() or len(found) != 1:
        how_many = f"{len(found)} dataset versions begin" if found else "no dataset version begins"
        raise UserError(
            f"{how_many} with {version_id!r}",
            next='prefactory sql "select version_id, name, kind, n_rows from dataset_versions"',
        )
    manifest = json.loads((found[0] / "manifest.json").read_text("utf-8"))
    return DatasetVersion(
        version_id=manifest["version_id"],
        kind=manifest["kind"],
        dir=found[0],
        n_rows=manifest["n_rows"],
        content_hash=manifest["content_hash"],
        n_trainable=manifest["n_trainable"],
        manifest=manifest,
    )


class _Writing:
    """The files of a version while they are written aside."""

    def __init__(
        self, store: Store, kind: Kind, selection: Mapping[str, object], aside: Path
    ) -> None:
        self.store = store
        self.kind: Kind = kind
        self.selection = selection
        self.aside = aside
        self.n_rows = self.n_trainable = 0
        self.content_hash = ""
        self.digests: Mapping[str, Any] = {}
        self.strategy: Mapping[str, Any] = {}
        self.left_out: list[tuple[str, str, str]] = []

    def write(self, *, rows_at_once: int | None) -> None:
        """Write rows.parquet and tokens.parquet, and hash what identifies the version."""
        names = (f"{self.kind}_rows", f"{self.kind}_tokenizers")
        rows_sql, tokenizers_sql = (_sql(self.store, f"storage/exports/{n}") for n in names)
        if self.selection["build_id"] and "$build_id" not in rows_sql:
            # A workspace's older copy would mix in what the strategy once made of other verdicts.
            raise UserError(
                f"storage/exports/{names[0]}.sql is an older copy that knows no builds",
                next="prefactory init DIR --refresh",
            )
        table = TABLES[self.kind]
        needs = f"{rows_sql} {tokenizers_sql} {table} completions"
        with self.store.connect(mentioned_in=needs) as con:
            con.execute(f"set temp_directory = '{str(self.aside / 'spill').replace(chr(39), '')}'")
            self.strategy = self._strategy(con, table)
            tokenizers = run(con, tokenizers_sql, self.selection).to_pylist()
            self.digests = tokenizers[0] if tokenizers else {}
            known = {**self.selection, "tokenizer_digest": self.digests.get("tokenizer_digest")}
            most = rows_at_once or rows_that_fit(con)
            batches = stream(con, rows_sql, known, bucket_groups(con, table, self.selection, most))
            self._write_batches(batches)
        shutil.rmtree(self.aside / "spill", ignore_errors=True)
        if self.n_rows == 0:
            raise UserError(
                f"there are no {table} of this strategy to freeze", next="prefactory stats"
            )
        if self.kind == "preference":
            self._refuse_contradictions()
        for file in ("rows.parquet", "tokens.parquet"):
            sync_file(self.aside / file)

    def _strategy(self, con: duckdb.DuckDBPyConnection, table: str) -> Mapping[str, Any]:
        sql = f"select any_value(strategy) as name from {table} where strategy_id = $strategy_id"
        found = run(con, sql, self.selection).to_pylist()
        return {"id": self.selection["strategy_id"], "name": found[0]["name"] or ""}

    def _write_batches(self, batches: Iterator[pa.Table]) -> None:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(canonical([self.kind, self.strategy["id"]]))
        rows_file = tokens_file = None
        try:
            for batch in batches:
                rows = batch.drop_columns([c for c in _TOKENS[self.kind] if c.endswith("_ids")])
                tokens = batch.filter(batch.column("untrainable").is_null()).select(
                    list(_TOKENS[self.kind])
                )
                tokens = tokens.cast(_token_schema(self.kind))
                if rows_file is None or tokens_file is None:
                    rows_file = pq.ParquetWriter(
                        self.aside / "rows.parquet", rows.schema, compression="zstd"
                    )
                    tokens_file = pq.ParquetWriter(
                        self.aside / "tokens.parquet", tokens.schema, compression="zstd"
                    )
                rows_file.write_table(rows)
                tokens_file.write_table(tokens)
                self._count(rows, tokens)
                hashed = (rows.column(c).to_pylist() for c in _HASHED[self.kind])
                for row in zip(*hashed, strict=True):
                    digest.update(canonical(list(row)) + b"\n")
        finally:
            for file in (rows_file, tokens_file):
                if file is not None:
                    file.close()
        self.content_hash = digest.hexdigest()

    def _count(self, rows: pa.Table, tokens: pa.Table) -> None:
        self.n_rows += rows.num_rows
        self.n_trainable += tokens.num_rows
        if rows.num_rows > tokens.num_rows:
            ids = rows.column(rows.column_names[0]).to_pylist()
            prompts, reasons = (rows.column(c).to_pylist() for c in ("prompt_id", "untrainable"))
            found = zip(ids, prompts, reasons, strict=True)
            self.left_out += [(i, p, why) for i, p, why in found if why]

    def _refuse_contradictions(self) -> None:
        """A strategy built twice, before and after more verdicts came, may say both ways."""
        check = _sql(self.store, "storage/checks/contradiction")
        with duckdb.connect() as con:
            con.read_parquet(str(self.aside / "rows.parquet")).create_view("frozen")
            con.execute("create view checked_pairs as select *, '' as strategy_id from frozen")
            found = con.execute(check).fetchall()
        if found:
            raise UserError(
                f"{len(found)} pairs say the opposite of another pair, as {found[0][0]}: verdicts "
                "changed between two builds of one strategy",
                next="prefactory pair --param seed=1  # builds anew, under another strategy id",
            )

    def manifest(self, version_id: str, *, name: str, recipe_id: str) -> dict[str, Any]:
        """What is in the version and where it came from."""
        store, files = self.store, ("rows.parquet", "tokens.parquet")
        tables = (TABLES[self.kind], "completions", "prompts", "judgements", "models", "draws")
        strategies = rooms.listing(
            "storage/strategies", suffix=".sql", workspace=self.store.workspace
        )
        path = strategies.get(self.strategy["name"])
        return {
            "version_id": version_id,
            "kind": self.kind,
            "name": name,
            "n_rows": self.n_rows,
            "n_trainable": self.n_trainable,
            "content_hash": self.content_hash,
            "tokenizer_digest": self.digests.get("tokenizer_digest") or "",
            "template_digest": self.digests.get("template_digest") or "",
            "strategy": self.strategy["name"],
            "strategy_id": self.strategy["id"],
            "strategy_sql": rooms.read_file(path).text if path else "",
            "selection": dict(self.selection),
            "recipe_id": recipe_id,
            "code_version": factory.__version__,
            "lake_versions": {t: store.lake.version(t) for t in tables},
            "files": {file: sha256_of(self.aside / file) for file in files},
        }

    def untrainable(self, round: int | None) -> Iterator[dict[str, Any]]:
        """Drops of the rows that stay out of tokens.parquet."""
        kind = {"preference": "pair", "sft": "sft_example"}[self.kind]
        for item_id, prompt_id, reason in self.left_out:
            yield {
                "item_kind": kind, "item_id": item_id, "prompt_id": prompt_id, "reason": reason,
                "strategy": self.strategy["name"], "round": round,
            }  # fmt: skip


def _token_schema(kind: Kind) -> pa.Schema:
    types = {"weight": pa.float64(), "margin": pa.float64()}
    ids = pa.list_(pa.int32())
    return pa.schema(
        [(n, types.get(n, ids if n.endswith("_ids") else pa.string())) for n in _TOKENS[kind]]
    )


def _register(
    store: Store,
    version: DatasetVersion,
    *,
    run_id: str,
    round: int | None,
    name: str,
    recipe_id: str,
    build_id: str | None,
) -> None:
    manifest = version.manifest
    row = {
        "version_id": version.version_id,
        "name": name,
        "kind": version.kind,
        "strategy": manifest["strategy"],
        "strategy_id": manifest["strategy_id"],
        "n_rows": version.n_rows,
        "content_hash": version.content_hash,
        "manifest": f"datasets/{version.version_id}/manifest.json",
        "recipe_id": recipe_id,
        "code_version": factory.__version__,
        "round": round,
        "build_id": build_id,
    }
    store.append("dataset_versions", [row], run_id=run_id)


def _sql(store: Store, name: str) -> str:
    room, _, file = name.rpartition("/")
    return rooms.read(room, file, suffix=".sql", workspace=store.workspace).text
