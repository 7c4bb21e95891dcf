"""The sampling verb: what a draw still lacks, cut into shards; one shard sampled, one lake commit.

A shard is a fixed slice of the draw's sorted prompts, so a shard that was killed is asked for again
with the very same batch in it, and engines whose rounding depends on the batch give the same ids.
Completions that exist, from whichever draw, are not asked for again: ids decide, not paths or
rounds. Shards know nothing of each other; any number of workers may take them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import StageFailed, UserError
from factory.rows import (
    SamplingParams,
    bucket_of,
    completion_id_of,
    content_id,
    text_hash,
    token_hash,
)
from factory.sampling.base import Sampler
from factory.sampling.identity import ModelIdentity, context_length
from factory.sampling.render import renderer_for
from factory.sampling.requests import Sampled
from factory.sampling.shards import Ask, Asked, Shard, Wanted, asks_of, request_id
from factory.sampling.thinking import Divider, Said, divider_for
from factory.store import Store

__all__ = ["Shard", "Wanted", "known_params", "plan", "register_model", "register_params",
           "sample_shard"]  # fmt: skip

STAGE = "sample"
_IDS_AT_ONCE = 8192


def register_model(
    store: Store,
    identity: ModelIdentity,
    *,
    name: str,
    kind: str,
    uri: str,
    run_id: str,
    parent: str = "",
) -> int:
    """Write a model's row, once per model; returns 1 if it was new."""
    row = {
        "model_id": identity.model_id,
        "name": name,
        "kind": kind,
        "uri": uri,
        "weights_digest": identity.weights_digest,
        "adapter_digest": identity.adapter_digest,
        "tokenizer_digest": identity.tokenizer_digest,
        "template_digest": identity.template_digest,
        "dtype": identity.dtype,
        "parent_model_id": parent or None,
    }
    return store.append("models", [row], run_id=run_id)


def register_params(store: Store, params: SamplingParams, *, run_id: str) -> int:
    """Write the row of a set of sampling parameters, once; returns 1 if it was new."""
    row = {
        "params_id": params.params_id,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_tokens,
        "json": json.dumps(params.as_dict(), sort_keys=True),
    }
    return store.append("params", [row], run_id=run_id)


def known_params(store: Store, params_id: str, *, base: SamplingParams) -> SamplingParams:
    """The parameters of an id: `base` where it is theirs, else as they were registered."""
    if base.params_id == params_id:
        return base
    known = store.rows("select json from params where params_id = $id", {"id": params_id})
    return SamplingParams.from_dict(json.loads(known[0]["json"])) if known else base


# --- planning -----------------------------------------------------------------------------------


def plan(
    store: Store,
    *,
    draws: Sequence[Mapping[str, Any]],
    params: SamplingParams,
    model_dir: Path,
    run_id: str,
    shard_size: int = 4096,
    max_model_len: int | None = None,
) -> list[Shard]:
    """The shards that still lack completions.

    Args:
        store: the workspace's store.
        draws: each with `model_id`, `params_id`, `seed`, `n` and `prompt_ids`, optionally `round`;
            all of one model.
        params: the parameters that the draws' `params_id` names.
        model_dir: where the model's weights are.
        run_id: the run that plans; the parameters' row is written with it.
        shard_size: completions a shard; a prompt's samples are never split between shards.
        max_model_len: longest prompt plus completion in tokens; None is the model's own.

    Raises:
        UserError: when a draw was made with other parameters, or no prompt can fit the context.
    """
    context = context_length(model_dir, max_model_len) if _is_model(model_dir) else max_model_len
    if draws and context is not None and params.max_tokens >= context:
        raise UserError(
            f"max_tokens is {params.max_tokens} and the context of {model_dir} {context} tokens: "
            "no prompt fits beside the answer",
            next=f"--set sampling.max_tokens={max(1, context // 2)}",
        )
    dropped = {
        row["item_id"]
        for row in store.rows(
            "select item_id from drops where stage = $stage and item_kind in ('request', "
            "'completion')",
            {"stage": STAGE},
        )
    }
    shards: list[Shard] = []
    for draw in draws:
        if draw["params_id"] != params.params_id:
            raise UserError(
                f"the draw was made with sampling parameters {draw['params_id']}, the recipe now "
                f"says {params.params_id}",
                next="run the recipe that made the draw, or start a new run",
            )
        maker = _Maker(
            str(draw["model_id"]), model_dir, params, int(draw["seed"]), context, dropped
        )
        shards += maker.shards(store, draw, shard_size)
    if shards:
        register_params(store, params, run_id=run_id)
    return shards


def _is_model(model_dir: Path) -> bool:
    return (model_dir / "config.json").is_file()


@dataclass(frozen=True, slots=True)
class _Maker:
    """What all shards of one draw have in common."""

    model_id: str
    model_dir: Path
    params: SamplingParams
    seed: int
    context: int | None
    dropped: set[str]

    def shards(self, store: Store, draw: Mapping[str, Any], size: int) -> Iterator[Shard]:
        n = int(draw["n"])
        prompts = sorted(set(draw["prompt_ids"]))
        per_shard = max(1, size // n)
        slices = [prompts[i : i + per_shard] for i in range(0, len(prompts), per_shard)]
        at_once = max(1, _IDS_AT_ONCE // (per_shard * n))
        for start in range(0, len(slices), at_once):
            block = slices[start : start + at_once]
            ids = {
                self._completion_id(p, i): (p, i) for part in block for p in part for i in range(n)
            }
            lacking = {ids[c] for c in store.missing("completions", list(ids))
                       if c not in self.dropped}  # fmt: skip
            for part in block:
                wanted = tuple(w for p in part for w in self._gaps(p, n, lacking))
                if wanted:
                    yield self._shard(wanted, draw.get("round"))

    def _gaps(self, prompt_id: str, n: int, lacking: set[tuple[str, int]]) -> Iterator[Wanted]:
        """Runs of neighbouring samples that are missing; a prompt that was dropped has none."""
        key = request_id(prompt_id, self.model_id, self.params, self.context)
        if key in self.dropped:
            return
        first: int | None = None
        for i in range(n + 1):
            if i < n and (prompt_id, i) in lacking:
                first = i if first is None else first
            elif first is not None:
                yield Wanted(prompt_id, first, i - first)
                first = None

    def _shard(self, wanted: tuple[Wanted, ...], round: int | None) -> Shard:
        what = [[w.prompt_id, w.first_idx, w.n] for w in wanted]
        shard_id = content_id(
            "shard", [self.model_id, self.params.params_id, self.seed, self.context, what]
        )
        return Shard(
            shard_id, self.model_id, self.model_dir, self.params, self.seed, self.context,
            Asked(wanted), round,
        )  # fmt: skip

    def _completion_id(self, prompt_id: str, sample_idx: int) -> str:
        return completion_id_of(
            prompt_id=prompt_id,
            model_id=self.model_id,
            params_id=self.params.params_id,
            sample_idx=sample_idx,
            seed=self.seed,
        )


# --- sampling -----------------------------------------------------------------------------------


def sample_shard(
    store: Store,
    sampler: Sampler,
    shard: Shard,
    *,
    run_id: str,
    unchanged: Callable[[], object] | None = None,
) -> int:
    """Sample one shard and commit its completions; returns how many were added.

    Prompts that cannot be sampled become drops: `prompt_too_long` (prompt plus `max_tokens` does
    not fit the context; nothing is ever cut), `template_rejects_prompt`, `prompt_missing`. A sample
    whose log-probabilities are not finite becomes the drop `nan_logprobs`.

    Args:
        store: where prompts are and completions go.
        sampler: an open engine with the shard's model.
        shard: what is asked.
        run_id: the run that samples.
        unchanged: raises when the model's files are no longer what its id says. It is asked when
            the answers are there: template and tokenizer are read for each shard, and an engine may
            have weights mapped from their file, so a file that was overwritten meanwhile may have
            answered.

    Raises:
        StageFailed: when the engine died or did not answer exactly what was asked; nothing of the
            shard is then in the lake.
    """
    renderer = renderer_for(shard.model_dir, engine=sampler.engine)
    asks, drops = asks_of(store, shard, sampler, renderer)
    samples = sampler.sample([ask.request for ask in asks], shard.params)
    if unchanged is not None:
        unchanged()
    asked = {(a.request.prompt_id, a.request.first_idx + j): a
             for a in asks for j in range(a.request.n)}  # fmt: skip
    answered = {(s.prompt_id, s.sample_idx): s for s in samples}
    if answered.keys() != asked.keys() or len(samples) != len(asked):
        raise StageFailed(
            f"the {sampler.engine} engine gave {len(samples)} samples of {len(answered)} ids for "
            f"{len(asked)} that were asked (shard {shard.shard_id})"
        )
    divider = divider_for(renderer, shard.params)
    rows = [_row(shard, sampler, asked[key], answered[key], divider) for key in sorted(asked)]
    whole = [row for row in rows if _is_finite(answered[row["prompt_id"], row["sample_idx"]])]
    kept = {row["completion_id"] for row in whole}
    drops += [_nan_drop(row, shard.round) for row in rows if row["completion_id"] not in kept]
    store.drop(STAGE, drops, run_id=run_id)
    added = store.append("completions", whole, run_id=run_id, shard=shard.shard_id)
    # Not a moment earlier: until here the ledger's answers are all that is left of what was paid.
    store.ledger.rows_are_kept({s.call_id for s in samples if s.call_id})
    return added


def _is_finite(sample: Sampled) -> bool:
    return sample.logprobs is None or all(map(math.isfinite, sample.logprobs))


def _nan_drop(row: Mapping[str, Any], round: int | None) -> dict[str, Any]:
    return {
        "item_kind": "completion",
        "item_id": row["completion_id"],
        "prompt_id": row["prompt_id"],
        "reason": "nan_logprobs",
        "round": round,
    }


def _row(
    shard: Shard, sampler: Sampler, ask: Ask, sample: Sampled, divider: Divider | None
) -> dict[str, Any]:
    """A completion's row; an empty completion is a completion."""
    said = divider.divide(sample) if divider else Said(None, sample.text, sample.finish_reason)
    given, plain = ask.request.prompt_token_ids, ask.plain
    logprobs = sample.logprobs
    return {
        "completion_id": completion_id_of(
            prompt_id=sample.prompt_id,
            model_id=shard.model_id,
            params_id=shard.params.params_id,
            sample_idx=sample.sample_idx,
            seed=shard.seed,
        ),
        "prompt_id": sample.prompt_id,
        "model_id": shard.model_id,
        "params_id": shard.params.params_id,
        "sample_idx": sample.sample_idx,
        "seed": shard.seed,
        "text": said.text,
        "reasoning": said.reasoning,
        "text_hash": text_hash(said.text),
        "prompt_token_ids": plain,
        "given_token_ids": None if given == plain else given,
        "token_ids": sample.token_ids,
        "token_hash": token_hash(plain, sample.token_ids),
        "logprobs": logprobs,
        "logprob_sum": None if logprobs is None else sum(logprobs),
        "n_tokens": len(sample.token_ids),
        "finish_reason": said.finish_reason,
        "origin": "sampled",
        "retokenised": sample.retokenised,
        "engine": sampler.engine,
        "engine_version": sampler.engine_version,
        "shard_id": shard.shard_id,
        "bucket": bucket_of(sample.prompt_id),
    }
