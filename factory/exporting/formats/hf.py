"""Hugging Face `DatasetDict` on disk plus Parquet: what TRL's DPOTrainer and SFTTrainer read.

Conversational: `prompt` is the messages, `chosen` and `rejected` (or `completion`) the assistant's
turn as a list of one message. `datasets.load_from_disk(DIR)` and `datasets.load_dataset(DIR)` both
open it.
"""

from __future__ import annotations

import shutil

from factory.exporting.content import CONVERSATIONS, Content

KINDS = ("preference", "sft")


def write(content: Content) -> dict[str, list[str]]:
    """Write `data/<split>.parquet`, then the same rows as a DatasetDict."""
    from datasets import Dataset, DatasetDict, NamedSplit

    names = {split: f"data/{split}.parquet" for split in content.splits}
    files = content.write_parquet(CONVERSATIONS[content.version.kind], names=names)
    # Arrow files are made from the Parquet ones batch by batch; the library's usual cache is a
    # folder of the user's home, which a one-off conversion should not fill.
    cache = content.out / ".cache"
    loaded = DatasetDict()
    for split, name in names.items():
        loaded[split] = Dataset.from_parquet(
            str(content.out / name), cache_dir=str(cache / split), split=NamedSplit(split)
        )
    loaded.save_to_disk(str(content.out))
    del loaded
    shutil.rmtree(cache)
    return files
