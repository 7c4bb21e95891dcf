"""The shape of UltraFeedback-binarized (HuggingFaceH4), which the alignment handbook reads.

`prompt` is the last user turn as a string; `chosen` and `rejected` are whole conversations that end
in the assistant's turn; splits are called train_prefs and test_prefs, or train_sft and test_sft.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from factory.exporting.content import MESSAGES, Content

KINDS = ("preference", "sft")

_S, _F = pa.string(), pa.float64()
_SCHEMAS = {
    "preference": pa.schema(
        [
            ("prompt", _S), ("prompt_id", _S), ("chosen", MESSAGES), ("rejected", MESSAGES),
            ("messages", MESSAGES), ("score_chosen", _F), ("score_rejected", _F),
        ]
    ),
    "sft": pa.schema([("prompt", _S), ("prompt_id", _S), ("messages", MESSAGES)]),
}  # fmt: skip


def write(content: Content) -> dict[str, list[str]]:
    """Write `data/<split>_prefs.parquet` or `data/<split>_sft.parquet`."""
    kind = content.version.kind
    suffix = {"preference": "prefs", "sft": "sft"}[kind]
    names = {split: f"data/{split}_{suffix}.parquet" for split in content.splits}
    files = content.write_parquet(_SCHEMAS[kind], names=names, shape=_shape)
    return {f"{split}_{suffix}": found for split, found in files.items()}


def _shape(row: dict[str, Any]) -> dict[str, Any]:
    users = [m["content"] for m in row["prompt"] if m["role"] == "user"]
    shaped: dict[str, Any] = {
        "prompt": users[-1] if users else row["prompt"][-1]["content"],
        "prompt_id": row["prompt_id"],
    }
    if "completion" in row:
        return {**shaped, "messages": row["prompt"] + row["completion"]}
    chosen = row["prompt"] + row["chosen"]
    return {
        **shaped,
        "chosen": chosen,
        "rejected": row["prompt"] + row["rejected"],
        "messages": chosen,
        "score_chosen": row["score_chosen"],
        "score_rejected": row["score_rejected"],
    }
