"""The unit of sampling work, and what an engine is asked for it.

A prompt is rendered here, once. What training sees is the plain prompt; where the parameters hold a
principle, the engine is given it as a system turn and the row keeps both (`Ask.plain`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from factory.rows import SamplingParams, base_seed, content_id
from factory.sampling.base import Sampler
from factory.sampling.render import CharacterRenderer, Renderer, TemplateRejects
from factory.sampling.requests import SampleRequest
from factory.store import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """Samples `first_idx` to `first_idx + n - 1` of one prompt."""

    prompt_id: str
    first_idx: int
    n: int


class Asked(Sequence[Wanted]):
    """What a shard wants, packed: a plan of millions of prompts is held for a whole night.

    Arrow's 44 bytes a prompt where three Python objects take 200.
    """

    __slots__ = ("_first", "_ids", "_n")

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        listed = list(wanted)
        self._ids = pa.array([w.prompt_id for w in listed], pa.string())
        self._first = pa.array([w.first_idx for w in listed], pa.uint32())
        self._n = pa.array([w.n for w in listed], pa.uint32())

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> Wanted: ...
    @overload
    def __getitem__(self, at: slice) -> list[Wanted]: ...
    def __getitem__(self, at: int | slice) -> Wanted | list[Wanted]:
        if isinstance(at, slice):
            return list(self)[at]
        return Wanted(self._ids[at].as_py(), self._first[at].as_py(), self._n[at].as_py())

    def __iter__(self) -> Iterator[Wanted]:
        columns = (self._ids.to_pylist(), self._first.to_pylist(), self._n.to_pylist())
        return (Wanted(i, first, n) for i, first, n in zip(*columns, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asked) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # equal by value, which arrays cannot hash

    @property
    def samples(self) -> int:
        """Completions that are wanted."""
        return int(sum(self._n.to_pylist()))

    @property
    def prompt_ids(self) -> list[str]:
        """Each prompt once, sorted."""
        return sorted(set(self._ids.to_pylist()))


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of sampling work. `context` is prompt plus completion in tokens, None if unknown."""

    shard_id: str
    model_id: str
    model_dir: Path
    params: SamplingParams
    seed: int
    context: int | None
    wanted: Asked
    round: int | None = None

    @property
    def n_completions(self) -> int:
        """How many completions it asks for."""
        return self.wanted.samples


def request_id(prompt_id: str, model_id: str, params: SamplingParams, context: int | None) -> str:
    """What is dropped when a prompt cannot be sampled; a longer context is another request."""
    return content_id("request", [prompt_id, model_id, params.params_id, context])


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and the prompt's token ids as training sees them."""

    request: SampleRequest
    plain: list[int]


def asks_of(
    store: Store, shard: Shard, sampler: Sampler, renderer: Renderer | CharacterRenderer
) -> tuple[list[Ask], list[dict[str, Any]]]:
    """What the engine is asked for a shard, and drops for prompts that it cannot be asked."""
    limit = min(shard.context or sampler.max_model_len, sampler.max_model_len)
    messages = _messages(store, shard.wanted.prompt_ids)
    asks: list[Ask] = []
    drops: dict[str, dict[str, Any]] = {}
    for wanted in shard.wanted:
        try:
            given, plain = _rendered(messages.get(wanted.prompt_id), shard.params, renderer)
            _require_room(given, shard.params, limit)
        except _Unaskable as why:
            drops[wanted.prompt_id] = _drop(shard, wanted.prompt_id, why)
            continue
        first = base_seed(
            prompt_id=wanted.prompt_id,
            model_id=shard.model_id,
            params_id=shard.params.params_id,
            seed=shard.seed,
        )
        seed = first + wanted.first_idx
        asked = _with_principle(messages[wanted.prompt_id], shard.params)
        request = SampleRequest(
            wanted.prompt_id, given, wanted.first_idx, wanted.n, seed, tuple(asked)
        )
        asks.append(Ask(request, plain))
    return asks, list(drops.values())


class _Unaskable(Exception):
    """A prompt that this model cannot be asked: a short stable reason, and what shows it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def _rendered(
    messages: Sequence[Mapping[str, str]] | None,
    params: SamplingParams,
    renderer: Renderer | CharacterRenderer,
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt as the engine is given it, and as training sees it."""
    if messages is None:
        raise _Unaskable("prompt_missing", "the table prompts has no such prompt")
    fold = params.fold_system
    try:
        plain = renderer.render(messages, fold_system=fold)
        if not params.system:
            return plain, plain
        return renderer.render(_with_principle(messages, params), fold_system=fold), plain
    except (TemplateRejects, ValueError) as error:
        raise _Unaskable("template_rejects_prompt", str(error)) from error


def _with_principle(
    messages: Sequence[Mapping[str, str]], params: SamplingParams
) -> Sequence[Mapping[str, str]]:
    """The prompt as the engine is given it."""
    return _with_system(messages, params.system) if params.system else messages


def _with_system(messages: Sequence[Mapping[str, str]], text: str) -> list[dict[str, str]]:
    """Messages with a system turn in front, or with its text in front of theirs."""
    first, *rest = [dict(m) for m in messages]
    if first["role"] != "system":
        return [{"role": "system", "content": text}, first, *rest]
    return [{"role": "system", "content": f"{text}\n\n{first['content']}"}, *rest]


def _require_room(ids: Sequence[int], params: SamplingParams, limit: int) -> None:
    said = f"{len(ids)} prompt tokens + {params.max_tokens} max_tokens > {limit}"
    if not ids:
        raise _Unaskable("template_rejects_prompt", said)
    if len(ids) + params.max_tokens > limit:
        raise _Unaskable("prompt_too_long", said)


def _drop(shard: Shard, prompt_id: str, why: _Unaskable) -> dict[str, Any]:
    return {
        "item_kind": "request",
        "item_id": request_id(prompt_id, shard.model_id, shard.params, shard.context),
        "prompt_id": prompt_id,
        "reason": why.reason,
        "detail": why.detail[:500],
        "round": shard.round,
    }


def _messages(store: Store, prompt_ids: list[str]) -> dict[str, list[dict[str, str]]]:
    found = store.values("prompts", "messages", prompt_ids)
    return {prompt_id: json.loads(said) for prompt_id, said in found.items() if said is not None}
