"""Curator (bespokelabs-curator) on the same rows; it keeps answers as JSON lines.

`python ask_curator.py URL ROWS.jsonl CONCURRENCY` prints how many verdicts it read.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ |= {
    "CURATOR_VIEWER": "0", "TELEMETRY_ENABLED": "0", "OPENAI_API_KEY": "none",
    "CURATOR_DISABLE_RICH_DISPLAY": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}  # fmt: skip

import litellm  # the environment is read when it is imported

# litellm carries the tokenizer that Curator would download.
os.environ["TIKTOKEN_CACHE_DIR"] = str(
    Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
)

from bespokelabs import curator
from datasets import Dataset

VERDICT = re.compile(r"\[\[(\d+)\]\]")


class Judge(curator.LLM):
    """One grade a row."""

    def prompt(self, row: dict[str, str]) -> list[dict[str, str]]:
        """The messages of a row."""
        return [
            {"role": "system", "content": row["system"]},
            {"role": "user", "content": row["user"]},
        ]

    def parse(self, row: dict[str, str], response: str) -> dict[str, object]:
        """The grade in the answer."""
        found = VERDICT.search(str(response))
        return {"id": row["id"], "grade": int(found[1]) if found else None}


def main(url: str, rows: Path, at_once: int) -> int:
    """Ask about every row; gives how many verdicts were read."""
    judge = Judge(
        model_name="gpt-4o-mini",
        backend="openai",
        generation_params={"temperature": 0.0, "max_tokens": 1024},
        backend_params={
            "base_url": url,
            "max_concurrent_requests": at_once,
            "max_requests_per_minute": 100_000_000,
            "max_tokens_per_minute": 1_000_000_000_000,
        },
    )
    asked = Dataset.from_list([json.loads(line) for line in rows.read_text().splitlines()])
    with tempfile.TemporaryDirectory() as folder:
        done = judge(asked, working_dir=folder)
        made = getattr(done, "dataset", done)
        return sum(grade is not None for grade in made["grade"])


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
