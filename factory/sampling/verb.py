"""The sampling verb: what a draw still lacks, cut into shards; one shard sampled, one lake commit.

A shard is a fixed slice of the draw's sorted prompts, so a shard that was killed is asked for again
with the very same batch in it, and engines whose rounding depends on the batch give the same ids.
Completions that exist, from whichever draw, are not asked for again: ids decide, not paths or
rounds. Shards know nothing of each other; any number of workers may take them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import StageFailed, UserError
from factory.rows import (
    SamplingParams,
    base_seed,
    bucket_of,
    completion_id_of,
    content_id,
    text_hash,
    token_hash,
)
from factory.sampling.base import Sampler
from factory.sampling.identity import ModelIdentity, context_length
from factory.sampling.render import TemplateRejects, renderer_for
from factory.sampling.requests import Sampled, SampleRequest
from factory.store import Store

STAGE = "sample"
_IDS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Samples `first_idx` to `first_idx + n - 1` of one prompt."""

    prompt_id: str
    first_idx: int
    n: int


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of sampling work. `context` is prompt plus completion in tokens, None if unknown."""

    shard_id: str
    model_id: str
    model_dir: Path
    params: SamplingParams
    seed: int
    context: int | None
    wanted: tuple[Wanted, ...]
    round: int | None = None

    @property
    def n_completions(self) -> int:
        """How many completions it asks for."""
        return sum(w.n for w in self.wanted)


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
        UserError: when a draw was made with other parameters.
    """
    context = context_length(model_dir, max_model_len) if _is_model(model_dir) else max_model_len
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
        key = _request_id(prompt_id, self.model_id, self.params, self.context)
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
            shard_id, self.model_id, self.model_dir, self.params, self.seed, self.context, wanted,
            round,
        )  # fmt: skip

    def _completion_id(self, prompt_id: str, sample_idx: int) -> str:
        return completion_id_of(
            prompt_id=prompt_id,
            model_id=self.model_id,
            params_id=self.params.params_id,
            sample_idx=sample_idx,
            seed=self.seed,
        )


def _request_id(prompt_id: str, model_id: str, params: SamplingParams, context: int | None) -> str:
    """What is dropped when a prompt cannot be sampled; a longer context is another request."""
    return content_id("request", [prompt_id, model_id, params.params_id, context])


# --- sampling -----------------------------------------------------------------------------------


def sample_shard(store: Store, sampler: Sampler, shard: Shard, *, run_id: str) -> int:
    """Sample one shard and commit its completions; returns how many were added.

    Prompts that cannot be sampled become drops: `prompt_too_long` (prompt plus `max_tokens` does
    not fit the context; nothing is ever cut), `template_rejects_prompt`, `prompt_missing`. A sample
    whose log-probabilities are not finite becomes the drop `nan_logprobs`.

    Raises:
        StageFailed: when the engine died or did not answer exactly what was asked; nothing of the
            shard is then in the lake.
    """
    requests, drops = _requests(store, shard, sampler)
    samples = sampler.sample(requests, shard.params)
    asked = {(r.prompt_id, r.first_idx + j): r for r in requests for j in range(r.n)}
    answered = {(s.prompt_id, s.sample_idx): s for s in samples}
    if answered.keys() != asked.keys() or len(samples) != len(asked):
        raise StageFailed(
            f"the {sampler.engine} engine gave {len(samples)} samples of {len(answered)} ids for "
            f"{len(asked)} that were asked (shard {shard.shard_id})"
        )
    rows = [_row(shard, sampler, asked[key], answered[key]) for key in sorted(asked)]
    whole = [row for row in rows if _is_finite(answered[row["prompt_id"], row["sample_idx"]])]
    kept = {row["completion_id"] for row in whole}
    drops += [_nan_drop(row, shard.round) for row in rows if row["completion_id"] not in kept]
    store.drop(STAGE, drops, run_id=run_id)
    return store.append("completions", whole, run_id=run_id, shard=shard.shard_id)


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


def _requests(
    store: Store, shard: Shard, sampler: Sampler
) -> tuple[list[SampleRequest], list[dict[str, Any]]]:
    renderer = renderer_for(shard.model_dir, engine=sampler.engine)
    limit = min(shard.context or sampler.max_model_len, sampler.max_model_len)
    messages = _messages(store, sorted({w.prompt_id for w in shard.wanted}))
    requests: list[SampleRequest] = []
    drops: dict[str, dict[str, Any]] = {}

    def drop(prompt_id: str, reason: str, detail: str) -> None:
        drops[prompt_id] = {
            "item_kind": "request",
            "item_id": _request_id(prompt_id, shard.model_id, shard.params, shard.context),
            "prompt_id": prompt_id,
            "reason": reason,
            "detail": detail[:500],
            "round": shard.round,
        }

    for wanted in shard.wanted:
        if wanted.prompt_id not in messages:
            drop(wanted.prompt_id, "prompt_missing", "the table prompts has no such prompt")
            continue
        try:
            ids = renderer.render(messages[wanted.prompt_id])
        except (TemplateRejects, ValueError) as error:
            drop(wanted.prompt_id, "template_rejects_prompt", str(error))
            continue
        if not ids or len(ids) + shard.params.max_tokens > limit:
            drop(
                wanted.prompt_id,
                "prompt_too_long" if ids else "template_rejects_prompt",
                f"{len(ids)} prompt tokens + {shard.params.max_tokens} max_tokens > {limit}",
            )
            continue
        first = base_seed(
            prompt_id=wanted.prompt_id,
            model_id=shard.model_id,
            params_id=shard.params.params_id,
            seed=shard.seed,
        )
        requests.append(
            SampleRequest(
                wanted.prompt_id, ids, wanted.first_idx, wanted.n, first + wanted.first_idx
            )
        )
    return requests, list(drops.values())


def _messages(store: Store, prompt_ids: list[str]) -> dict[str, list[dict[str, str]]]:
    rows = store.rows(
        "select prompt_id, any_value(messages) as messages from prompts "
        "where list_contains($ids, prompt_id) group by prompt_id",
        {"ids": prompt_ids},
    )
    return {row["prompt_id"]: json.loads(row["messages"]) for row in rows}


def _row(shard: Shard, sampler: Sampler, request: SampleRequest, sample: Sampled) -> dict[str, Any]:
    """A completion's row; an empty completion is a completion."""
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
        "text": sample.text,
        "text_hash": text_hash(sample.text),
        "prompt_token_ids": request.prompt_token_ids,
        "token_ids": sample.token_ids,
        "token_hash": token_hash(request.prompt_token_ids, sample.token_ids),
        "logprobs": logprobs,
        "logprob_sum": None if logprobs is None else sum(logprobs),
        "n_tokens": len(sample.token_ids),
        "finish_reason": sample.finish_reason,
        "origin": "sampled",
        "retokenised": False,
        "engine": sampler.engine,
        "engine_version": sampler.engine_version,
        "shard_id": shard.shard_id,
        "bucket": bucket_of(sample.prompt_id),
    }
