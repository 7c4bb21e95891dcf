"""distilabel's vLLM step, turn by turn: one JSON line in, one out, until standard input ends.

Its last version hands `SamplingParams` an empty list of logits processors, an argument that vLLM no
longer has. It is left out here; nothing else of the step is changed.

`python sample_distilabel.py MODEL`; with `--try` it only loads what it needs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

ENGINE = {
    "enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": 8192,
}  # fmt: skip


def main(model: str) -> None:
    """Open the model once and answer turns with `vLLM.generate_outputs`."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from distilabel.models import vLLM

    if model == "--try":
        import vllm

        print(vllm.__version__)
        return
    began = time.perf_counter()
    llm: Any = vLLM(
        model=model, dtype="float32", extra_kwargs=ENGINE, disable_cuda_device_placement=True
    )
    llm.load()
    _without_logits_processors()
    told.write(json.dumps({"seconds": time.perf_counter() - began}) + "\n")
    told.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        found = llm.generate_outputs(
            inputs=asked["messages"], num_generations=asked["n"],
            max_new_tokens=asked["max_tokens"], temperature=1.0,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        tokens = sum(sum(each["statistics"]["output_tokens"]) for each in found)
        told.write(json.dumps({"seconds": seconds, "tokens": tokens}) + "\n")
        told.flush()


def _without_logits_processors() -> None:
    import vllm

    asked = vllm.SamplingParams

    def params(*args: Any, logits_processors: Any = None, **named: Any) -> Any:
        if logits_processors:
            raise TypeError("this vLLM takes no logits processors")
        return asked(*args, **named)

    vllm.SamplingParams = params


if __name__ == "__main__":
    main(sys.argv[1])
