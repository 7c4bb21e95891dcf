"""The rows that the storage bench writes: always the same, of the shape of a real factory's."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from factory.rows import SCHEMAS

_COMPLETIONS = """
select md5('c' || i) as completion_id, md5('p' || i // 8) as prompt_id, 'm' as model_id,
  'params' as params_id, (i % 8)::int as sample_idx, 0::bigint as seed, null::varchar as text,
  md5('t' || i) as text_hash, md5('k' || i) as token_hash, (100 + i % 300)::int as n_tokens,
  'stop' as finish_reason, 'sampled' as origin, false as retokenised,
  (hash('p' || i // 8) % 64)::smallint as bucket
from range($first, $last) t(i) order by i
"""
_JUDGEMENTS = """
select md5('j' || i) as judgement_id, 'pointwise' as kind, 'judge' as judge, 'judge-1' as judge_id,
  '' as aspect, md5('p' || i // 8) as prompt_id, [md5('c' || i)] as completion_ids,
  md5('c' || i) as completion_id, 'ok' as status,
  -- One prompt in fifty has ties only, so that something is dropped.
  if(i // 8 % 50 = 0, 5.0, hash(i) % 1000 / 100)::double as score,
  0::int as replicate, 'sampled' as origin, (hash('p' || i // 8) % 64)::smallint as bucket
from range($first, $last) t(i) order by i
"""
_PROMPTS = """
select md5('p' || i) as prompt_id, 'pool' as pool, '[{"role":"user","content":"?"}]' as messages,
  'train' as split, (hash('p' || i) % 64)::smallint as bucket
from range($first, $last) t(i) order by i
"""
SQL = {"prompts": _PROMPTS, "completions": _COMPLETIONS, "judgements": _JUDGEMENTS}


def rows(table: str, first: int, last: int, texts: list[str] | None = None) -> pa.Table:
    """Rows first to last of a table, always the same."""
    with duckdb.connect() as con:
        values = {"first": first, "last": last}
        found = con.sql(SQL[table], params=values).to_arrow_table()
    schema = SCHEMAS[table]
    columns = [
        found.column(f.name).cast(f.type)
        if f.name in found.column_names
        else pa.nulls(found.num_rows, f.type)
        for f in schema
    ]
    made = pa.Table.from_arrays(columns, schema=schema)
    if texts is not None and table == "completions":
        shown = pa.array([f"{i} {texts[i * 7919 % len(texts)]}" for i in range(first, last)])
        made = made.set_column(schema.get_field_index("text"), schema.field("text"), shown)
    return made


def texts_of(count: int = 50_000) -> list[str]:
    """Texts of about 1.2 KB whose words are as unequal as a language's."""
    lot = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(lot.choice(letters, lot.integers(2, 9))) for _ in range(20_000)])
    picked = words[np.minimum(lot.zipf(1.2, size=(count, 190)), 20_000) - 1]
    return [" ".join(line) for line in picked]
