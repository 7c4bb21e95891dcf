"""A reward model in a process of its own, JSON lines both ways.

It is `python -m factory.judging.local.reward`.

The process's exit is what gives the memory back, and a crash of the model's library is not ours.
The first line says which model; every further one is a batch of conversations, answered by one line
of raw logits. Nothing is cut: a conversation that is too long has a reason instead of a score.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

Conversation = Sequence[Mapping[str, str]]
Scored = tuple[list[float | None], list[str]]
"""Scores, and for each the reason where it is None."""
MOST_FAILURES = 16
"""Conversations in a row that cannot be scored, from which on the model is given up."""
Scorer = Callable[[list[Conversation]], Scored]


class Texts:
    """Conversations as the model's own tokenizer and chat template read them."""

    def __init__(self, model: Path, *, most: int | None) -> None:
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            str(model), local_files_only=True, trust_remote_code=False
        )
        if not self.tokenizer.chat_template:
            raise ValueError("the model has no chat template")
        self.most = most
        # Not only the named ones (bos, eos): Llama 3's turn marks are special and have no name.
        added = self.tokenizer.added_tokens_decoder.values()
        named = {str(t) for t in self.tokenizer.all_special_tokens}
        special = named | {t.content for t in added if t.special}
        self._special = sorted(t for t in special if t.strip())

    def ids(self, conversation: Conversation) -> tuple[list[int], str]:
        """Token ids, or a reason why there are none."""
        # A text that spells a special token would open or end a turn of its own.
        if any(s in m["content"] for m in conversation for s in self._special):
            return [], "text_holds_special_tokens"
        try:
            text = self.tokenizer.apply_chat_template(list(conversation), tokenize=False)
        except Exception:  # a template may refuse roles or their order, with any error
            return [], "refused_by_chat_template"
        ids = [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]
        if not ids:
            return [], "empty"
        if self.most is not None and len(ids) > self.most:
            return [], "text_above_max_tokens"
        return ids, ""


def transformers_scorer(model: Path, asked: Mapping[str, Any]) -> Scorer:
    """Scores by transformers' sequence classification."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(str(model), local_files_only=True, trust_remote_code=False)
    output = _output(config, asked)
    texts = Texts(model, most=asked["max_tokens"] or _context(config))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = AutoModelForSequenceClassification.from_pretrained(
        str(model), dtype=asked["dtype"], local_files_only=True, trust_remote_code=False,
        use_safetensors=True,
    ).to(device)  # fmt: skip
    network.eval()
    pad = texts.tokenizer.pad_token_id
    # A decoder's score is the last token's that is no padding: where padding is also what ends a
    # text, a batch would read one token too early, so such a model is asked one by one.
    alone = pad is None or pad == texts.tokenizer.eos_token_id
    network.config.pad_token_id = None if alone else pad

    def score(batch: list[list[int]]) -> list[float]:
        longest = max(map(len, batch))
        fill = 0 if alone else pad
        ids = torch.tensor([b + [fill] * (longest - len(b)) for b in batch], device=device)
        mask = torch.tensor([[1] * len(b) + [0] * (longest - len(b)) for b in batch], device=device)
        with torch.inference_mode():
            logits = network(input_ids=ids, attention_mask=mask).logits  # (B, labels)
        return [float(x) for x in logits[:, output].float().cpu()]

    return _by_length(texts, score, size=1 if alone else asked["batch"])


def vllm_scorer(model: Path, asked: Mapping[str, Any]) -> Scorer:
    """Scores by vLLM's pooling runner, without its activation."""
    from transformers import AutoConfig
    from vllm import LLM, PoolingParams

    config = AutoConfig.from_pretrained(str(model), local_files_only=True, trust_remote_code=False)
    output = _output(config, asked)
    texts = Texts(model, most=asked["max_tokens"] or _context(config))
    engine: Any = LLM(
        model=str(model), runner="pooling", convert="classify", dtype=asked["dtype"],
        trust_remote_code=False, enforce_eager=True, disable_log_stats=True,
    )  # fmt: skip

    def score(batch: list[list[int]]) -> list[float]:
        found = engine.classify(
            [{"prompt_token_ids": ids} for ids in batch],
            pooling_params=PoolingParams(use_activation=False),
            use_tqdm=False,
        )
        return [float(one.outputs.probs[output]) for one in found]

    return _by_length(texts, score, size=256)


def _output(config: Any, asked: Mapping[str, Any]) -> int:
    labels = int(config.num_labels)
    output = asked["output"]
    if output is None and labels != 1:
        raise ValueError(f"the model has {labels} outputs: say which one in reward.output")
    if output is not None and output >= labels:
        raise ValueError(f"reward.output is {output}, and the model has {labels} outputs")
    return int(output or 0)


def _context(config: Any) -> int | None:
    found = getattr(config, "max_position_embeddings", None)
    return int(found) if found else None


def _by_length(
    texts: Texts, score: Callable[[list[list[int]]], list[float]], *, size: int
) -> Scorer:
    """Batches of like lengths, answers in the order asked."""
    scored = _whatever_fails(score)

    def work(conversations: list[Conversation]) -> Scored:
        read = [texts.ids(c) for c in conversations]
        reasons = [reason for _, reason in read]
        scores: list[float | None] = [None] * len(read)
        order = sorted((i for i, (ids, _) in enumerate(read) if ids), key=lambda i: len(read[i][0]))
        for start in range(0, len(order), size):
            part = order[start : start + size]
            for i, value in zip(part, scored([read[i][0] for i in part]), strict=True):
                if value is None:
                    reasons[i] = "model_failed"
                elif math.isfinite(value):
                    scores[i] = value
                else:
                    reasons[i] = "not_finite"
        return scores, reasons

    return work


def _whatever_fails(
    score: Callable[[list[list[int]]], list[float]],
) -> Callable[[list[list[int]]], list[float | None]]:
    """A batch that fails is scored one by one, and what fails alone has no score.

    One conversation too long for the device's memory must not end every run that meets it. Many
    failures in a row are the model's or the device's own, and raise.
    """
    in_a_row = 0

    def alone(one: list[int]) -> float | None:
        nonlocal in_a_row
        try:
            value = score([one])[0]
        except Exception:
            in_a_row += 1
            if in_a_row >= MOST_FAILURES:
                raise
            return None
        in_a_row = 0
        return value

    def scored(batch: list[list[int]]) -> list[float | None]:
        nonlocal in_a_row
        if len(batch) > 1:
            try:
                found = list(score(batch))
            except Exception:  # whatever a model's library raises: it is asked again, one by one
                return [alone(one) for one in batch]
            in_a_row = 0
            return [*found]
        return [alone(one) for one in batch]

    return scored


_ENGINES = {"transformers": transformers_scorer, "vllm": vllm_scorer}


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Load the model that the first line names, then answer until the input ends."""

    def say(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    asked: dict[str, Any] = json.loads(requests.readline())
    try:
        score = _ENGINES[asked["engine"]](Path(asked["model"]), asked)
    except Exception as error:
        say({"error": " ".join(f"{error}".split())[:300] or type(error).__name__})
        raise
    say({"ready": True})
    for line in requests:
        scores, reasons = score(json.loads(line)["conversations"])
        say({"scores": scores, "reasons": reasons})


def main() -> None:
    """Nothing but answers may reach the standard output, whatever a library prints."""
    from factory.judging.isolate import die_with_parent

    die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
