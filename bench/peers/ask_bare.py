"""The loop that people write: AsyncOpenAI on its default transport, storing nothing.

`python ask_bare.py URL ROWS.jsonl CONCURRENCY` prints how many verdicts it read.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from openai import AsyncOpenAI

VERDICT = re.compile(r"\[\[(\d+)\]\]")


async def main(url: str, rows: Path, at_once: int) -> int:
    """Ask about every row; gives how many verdicts were read."""
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=2, timeout=120)
    places = asyncio.Semaphore(at_once)

    async def ask(row: dict[str, str]) -> int | None:
        async with places:
            done = await client.chat.completions.create(
                model="judge",
                messages=[
                    {"role": "system", "content": row["system"]},
                    {"role": "user", "content": row["user"]},
                ],
                max_tokens=1024,
                temperature=0.0,
            )
        found = VERDICT.search(done.choices[0].message.content or "")
        return int(found[1]) if found else None

    asked = [json.loads(line) for line in rows.read_text().splitlines()]
    verdicts = await asyncio.gather(*(ask(row) for row in asked))
    return sum(verdict is not None for verdict in verdicts)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
