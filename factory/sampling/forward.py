"""A plain float32 forward pass in a process of its own: `python -m factory.sampling.forward`.

It is what an engine's log-probabilities are compared with: transformers' own code for the model,
one sequence at a time, no cache, no kernels of the engine. Token ids come in as one frame,
log-probabilities go out as another; nothing outlives the process that asked.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from factory.sampling.frames import read_frame, write_frame
from factory.sampling.worker import die_with_parent, spare_threads

ASKED = pa.schema([("prompt", pa.list_(pa.int32())), ("completion", pa.list_(pa.int32()))])
ANSWERED = pa.schema([("logprobs", pa.list_(pa.float32()))])


def main(model: Path, adapter: Path | None, parent: int, asked: BinaryIO, told: BinaryIO) -> int:
    """Answer one frame: log-probabilities of every completion's tokens, in the order asked."""
    die_with_parent(parent)
    try:
        _, table = read_frame(asked)
        assert table is not None
        loaded = _load(model, adapter)
        rows = [logprobs_of(loaded, row["prompt"], row["completion"]) for row in table.to_pylist()]
    except Exception as error:
        traceback.print_exc()
        write_frame(told, {"error": f"{type(error).__name__}: {error}"[:500]})
        return 1
    write_frame(told, {}, pa.table({"logprobs": pa.array(rows, ANSWERED.field(0).type)}))
    return 0


def _load(model: Path, adapter: Path | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        spare_threads(model)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        str(model), dtype=torch.float32, trust_remote_code=False, use_safetensors=True,
        local_files_only=True,
    )  # fmt: skip
    if adapter is not None:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, str(adapter))
    return loaded.to(device).eval()


def logprobs_of(model: Any, prompt: list[int], completion: list[int]) -> list[float]:
    """Natural log-probability of each token of a completion, at temperature 1."""
    import torch

    ids = torch.tensor([prompt + completion], device=model.device)  # (1, P + C)
    with torch.inference_mode():
        logits = model(input_ids=ids, logits_to_keep=len(completion) + 1).logits[0, :-1].float()
        chosen = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])  # (C, 1)
    return [float(value) for value in chosen[:, 0]]


def _own_output() -> BinaryIO:
    """Standard output for frames alone; what libraries print goes to the log."""
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return told


if __name__ == "__main__":
    ended = main(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if sys.argv[2] else None,
        int(sys.argv[3]),
        sys.stdin.buffer,
        _own_output(),
    )
    sys.exit(ended)
