"""distilabel on the same rows; it keeps finished batches as JSON and Parquet.

`python ask_distilabel.py URL ROWS.jsonl CONCURRENCY` prints how many verdicts it read.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ |= {"ARGILLA_TELEMETRY": "0", "HF_HUB_OFFLINE": "1", "DISTILABEL_LOG_LEVEL": "WARNING"}

from distilabel.models import OpenAILLM  # the environment is read when imported
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

VERDICT = re.compile(r"\[\[(\d+)\]\]")


def main(url: str, rows: Path, at_once: int) -> int:
    """Ask about every row; gives how many verdicts were read."""
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    asked = [{"id": r["id"], "instruction": r["user"], "system_prompt": r["system"]} for r in lines]
    with tempfile.TemporaryDirectory() as folder:
        with Pipeline(name="judge", cache_dir=folder) as pipeline:
            load = LoadDataFromDicts(data=asked, batch_size=at_once)
            ask = TextGeneration(
                llm=OpenAILLM(
                    model="judge", base_url=url, api_key="none",
                    generation_kwargs={"temperature": 0.0, "max_new_tokens": 1024},
                ),
                input_batch_size=at_once,
            )  # fmt: skip
            load >> ask
        made = pipeline.run(use_cache=False)
        texts = made["default"]["train"]["generation"]
        return sum(VERDICT.search(text or "") is not None for text in texts)


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
