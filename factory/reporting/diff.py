"""`diff A B`: what changed between two dataset versions, and why.

A training team that gets a new set every morning asks this first: which rows came, went or changed
sides, and was it new prompts, a new checkpoint, an edited judge or another strategy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from factory import rooms
from factory.errors import UserError
from factory.exporting.versions import DatasetVersion, load_version
from factory.store import Store

_ROWS = {
    "preference": """
        select prompt_id, least(chosen_id, rejected_id) as low_id,
          greatest(chosen_id, rejected_id) as high_id, chosen_id, judge,
          score_chosen - score_rejected as score,
          list_distinct([chosen_model_id, rejected_model_id]) as model_ids
        from read_parquet($file)
        qualify row_number() over (partition by low_id, high_id order by pair_id) = 1""",
    "sft": """
        select prompt_id, completion_id as low_id, completion_id as high_id,
          completion_id as chosen_id, judge, score, [model_id] as model_ids
        from read_parquet($file)
        qualify row_number() over (partition by completion_id order by sft_id) = 1""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Two versions side by side."""

    before: DatasetVersion
    after: DatasetVersion
    rows: pa.Table
    """One row per change: change, cause, prompt_id, chosen_before, chosen_after, score_before,
    score_after, judge, low_id, high_id."""

    @property
    def summary(self) -> list[dict[str, Any]]:
        """How many rows changed, by change and cause."""
        counted = self.rows.group_by(["change", "cause"]).aggregate([([], "count_all")])
        found = counted.sort_by([("change", "ascending"), ("cause", "ascending")]).to_pylist()
        return [{"change": r["change"], "cause": r["cause"], "rows": r["count_all"]} for r in found]


def diff(store: Store, before_id: str, after_id: str) -> Diff:
    """What changed from one dataset version to another.

    Args:
        store: the workspace's.
        before_id: the older version's id, or its first letters.
        after_id: the newer version's.

    Raises:
        UserError: when there is no such version, or they are of different kinds.
    """
    before, after = load_version(store, before_id), load_version(store, after_id)
    if before.kind != after.kind:
        raise UserError(
            f"{before_id} is of kind {before.kind} and {after_id} of kind {after.kind}",
            next='prefactory sql "select version_id, name, kind from dataset_versions"',
        )
    sql = rooms.read("storage", "diff", suffix=".sql", workspace=store.workspace).text
    with duckdb.connect() as con:
        for name, version in (("before", before), ("after", after)):
            file = {"file": str(version.dir / "rows.parquet")}
            con.register(name, con.sql(_ROWS[version.kind], params=file).to_arrow_table())
        con.register("rejudged", _rejudged(store, before, after))
        same = before.manifest["strategy_id"] == after.manifest["strategy_id"]
        found = con.sql(sql, params={"same_strategy": same}).to_arrow_table()
    return Diff(before=before, after=after, rows=found)


def _rejudged(store: Store, before: DatasetVersion, after: DatasetVersion) -> pa.Table:
    """Completions judged by a judge whose file, model or settings only one of the two knew."""
    known = [_judge_ids(store, version) for version in (before, after)]
    changed = pa.table({"judge_id": pa.array(sorted(known[0] ^ known[1]), pa.string())})
    sql = """
        select distinct completion_id
        from (select judge_id, unnest(completion_ids) as completion_id from judgements)
        semi join changed using (judge_id)"""
    with store.connect(mentioned_in=sql) as con:
        con.register("changed", changed)
        return con.sql(sql).to_arrow_table()


def _judge_ids(store: Store, version: DatasetVersion) -> set[str]:
    sql = "select distinct judge_id from judgements"
    versions = {"judgements": version.manifest.get("lake_versions", {}).get("judgements")}
    with store.connect(mentioned_in=sql, versions=versions) as con:
        return {row[0] for row in con.execute(sql).fetchall()}
