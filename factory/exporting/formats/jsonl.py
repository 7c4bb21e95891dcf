"""JSON Lines, one conversation pair or example a line: for everything that reads text files."""

from __future__ import annotations

import json
from contextlib import ExitStack

from factory.exporting.content import CONVERSATIONS, Content

KINDS = ("preference", "sft")


def write(content: Content) -> dict[str, list[str]]:
    """Write `<split>.jsonl`, UTF-8, with the columns of the `hf` format."""
    names = CONVERSATIONS[content.version.kind].names
    with ExitStack() as stack:
        files = {
            split: stack.enter_context((content.out / f"{split}.jsonl").open("w", encoding="utf-8"))
            for split in content.splits
        }
        for split, rows in content.batches():
            for row in rows:
                line = json.dumps({n: row[n] for n in names}, ensure_ascii=False, allow_nan=False)
                files[split].write(line + "\n")
    return {split: [f"{split}.jsonl"] for split in content.splits}
