"""The nouns of the factory, their content ids and their Arrow schemas.

Everything the factory keeps is a row of one of these tables. A row's id is a hash of what
determines the row, so it is known before any money is spent and a stage that runs twice adds
nothing (law 1).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pyarrow as pa

Split = Literal["train", "dev", "gate"]
Status = Literal["ok", "unparsed", "refused", "truncated", "error"]
JudgeKind = Literal[
    "pointwise", "pairwise", "listwise", "revise", "verifier", "reward_model", "panel", "human"
]
FinishReason = Literal["stop", "length", "abort", "recorded", "no_answer"]
Origin = Literal["sampled", "recorded", "revised"]

STATUSES: tuple[str, ...] = get_args(Status)
BUCKETS = 64
"""Prompt-keyed rows are bucketed by `hash(prompt_id) % BUCKETS`: pair building is independent per
bucket."""


def canonical(value: object) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: for NaN or infinity, which have no JSON form.
    """
    # surrogatepass: hostile text may hold lone surrogates, and an id must exist for every text.
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8", "surrogatepass")


def content_id(domain: str, value: object) -> str:
    """blake2b-128 of a domain and a JSON value, as 32 hex characters."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(domain.encode())
    digest.update(b"\x1f")
    digest.update(canonical(value))
    return digest.hexdigest()


def text_hash(text: str) -> str:
    """Identity of a text alone, whoever wrote it."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def token_hash(prompt_token_ids: Sequence[int], token_ids: Sequence[int]) -> str:
    """Identity of a prompt's and a completion's token ids, whoever sampled them."""
    digest = hashlib.blake2b(digest_size=16)
    for ids in (prompt_token_ids, token_ids):
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(struct.pack(f"<{len(ids)}i", *ids))
    return digest.hexdigest()


def bucket_of(prompt_id: str) -> int:
    """The bucket (0 to BUCKETS - 1) of every row that belongs to this prompt."""
    return int(prompt_id[:8], 16) % BUCKETS


def share_of(identity: str, salt: str) -> float:
    """A fixed number in [0, 1) for an id and a salt: every draw and split is made of these."""
    return int(content_id("share", [salt, identity])[:13], 16) / 16**13


def split_of(prompt_id: str, *, gate: float, dev: float, salt: str = "split") -> Split:
    """The one split of a prompt, by hash (law 12). `gate` and `dev` are shares in [0, 1]."""
    share = share_of(prompt_id, salt)
    if share < gate:
        return "gate"
    return "dev" if share < gate + dev else "train"


def utcnow() -> datetime:
    """The clock, at the edge: UTC with microseconds."""
    return datetime.now(UTC)


# --- messages ---------------------------------------------------------------------------------

Message = Mapping[str, str]


def normal_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as `{"role", "content"}` dicts in that order, with nothing else.

    Raises:
        ValueError: when there is no message, a role is unknown, or the last one is not the user's.
    """
    normal = [{"role": str(m["role"]), "content": str(m["content"])} for m in messages]
    if not normal:
        raise ValueError("no messages")
    for message in normal:
        if message["role"] not in {"system", "user", "assistant", "tool"}:
            raise ValueError(f"unknown role {message['role']!r}")
    if normal[-1]["role"] not in {"user", "tool"}:
        raise ValueError("the last message must be the user's")
    return normal


def prompt_id_of(messages: Sequence[Message]) -> str:
    """Id of a prompt: its messages and nothing else."""
    return content_id("prompt", normal_messages(messages))


# --- nouns ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked."""

    messages: Sequence[Message]
    pool: str
    source: str = ""
    source_id: str = ""
    domain: str = ""
    lang: str = ""
    license: str = ""
    reference: str | None = None
    """The known answer, for verifiers."""
    constraints: str | None = None
    """JSON arguments of the checker, for verifiers."""
    split: Split = "train"

    @property
    def prompt_id(self) -> str:
        """Id from the messages alone."""
        return prompt_id_of(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How completions are drawn. Every field is part of the completion's identity."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    repetition_penalty: float = 1.0
    system: str = ""
    """A principle: text of a system turn that the model is given and training is not."""
    fold_system: bool = False
    """Put a system turn that the template rejects in front of the first user turn."""
    thinking: tuple[str, str] | None = None
    """What begins and ends reasoning; None leaves it to the model's tokenizer."""
    settings: str = ""
    """Settings of the engine that change what it answers, as JSON: `dtype`, `quantization` …"""

    @property
    def params_id(self) -> str:
        """Id of these parameters."""
        return content_id("params", self.as_dict())

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> SamplingParams:
        """Parameters from their JSON form."""
        fields = dict(given)
        fields["stop"] = tuple(fields["stop"])
        if fields.get("thinking") is not None:
            begin, end = fields["thinking"]
            fields["thinking"] = (begin, end)
        return cls(**fields)

    def as_dict(self) -> dict[str, object]:
        """The JSON form that is hashed and stored; what is off is not part of it."""
        more = {
            "system": self.system,
            "fold_system": self.fold_system,
            "thinking": list(self.thinking) if self.thinking else None,
            "settings": self.settings,
        }
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            "repetition_penalty": self.repetition_penalty,
            **{name: value for name, value in more.items() if value},
        }


def base_seed(*, prompt_id: str, model_id: str, params_id: str, seed: int) -> int:
    """Seed of sample 0 of a prompt, in [0, 2**31 - 2**20); sample i uses this plus i."""
    digest = content_id("seed", [prompt_id, model_id, params_id, seed])
    return int(digest[:12], 16) % (2**31 - 2**20)


def completion_id_of(
    *, prompt_id: str, model_id: str, params_id: str, sample_idx: int, seed: int
) -> str:
    """Id of a completion, before it is sampled. `seed` is the recipe's, not the sample's."""
    return content_id("completion", [prompt_id, model_id, params_id, sample_idx, seed])


def judgement_id_of(
    *,
    kind: str,
    judge_id: str,
    completion_ids: Sequence[str],
    aspect: str = "",
    replicate: int = 0,
) -> str:
    """Id of a judgement, before it is paid for. `completion_ids` are in the order shown."""
    return content_id("judgement", [kind, judge_id, list(completion_ids), aspect, replicate])


def pair_id_of(*, chosen_id: str, rejected_id: str, build_id: str) -> str:
    """Id of a preference pair of one build of a strategy."""
    return content_id("pair", [chosen_id, rejected_id, build_id])


def sft_id_of(*, completion_id: str, build_id: str) -> str:
    """Id of a rejection-sampled SFT example of one build of a strategy."""
    return content_id("sft", [completion_id, build_id])


def drop_id_of(*, stage: str, item_id: str, reason: str, scope: str = "") -> str:
    """Id of a dropped row: one per stage, item, reason and scope (a round, a file)."""
    return content_id("drop", [stage, item_id, reason, scope])


# --- schemas ----------------------------------------------------------------------------------

_TIME = pa.timestamp("us", tz="UTC")
_IDS = pa.list_(pa.string())


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    always = (("run_id", pa.string()), ("created_at", _TIME))
    return pa.schema([pa.field(n, t) for n, t in (*columns, *always)])


S, I16, I32, I64, F32, F64, B = (
    pa.string(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(),
)  # fmt: skip

SCHEMAS: dict[str, pa.Schema] = {
    "prompts": _schema(
        ("prompt_id", S), ("pool", S), ("source", S), ("source_id", S), ("domain", S),
        ("lang", S), ("license", S), ("messages", S), ("n_chars", I32), ("split", S),
        ("reference", S), ("constraints", S), ("bucket", I16), ("tags", pa.list_(S)),
        ("next_turns", S), ("parent_completion_id", S),
    ),
    "makings": _schema(
        ("making_id", S), ("maker", S), ("maker_sha", S), ("variant", S), ("persona", S),
        ("pool", S), ("parent_ids", _IDS), ("replicate", I32), ("seed", I64), ("model_id", S),
        ("params_id", S), ("text", S), ("finish_reason", S), ("n_tokens", I32), ("engine", S),
        ("engine_version", S), ("call_id", S), ("model_reported", S), ("tokens_in", I64),
        ("tokens_out", I64), ("cost_microusd", I64), ("latency_ms", F64),
    ),
    "models": _schema(
        ("model_id", S), ("name", S), ("kind", S), ("uri", S), ("revision", S),
        ("weights_digest", S), ("adapter_digest", S), ("tokenizer_digest", S),
        ("template_digest", S), ("dtype", S), ("parent_model_id", S), ("license", S),
    ),
    "params": _schema(
        ("params_id", S), ("temperature", F64), ("top_p", F64), ("max_tokens", I32), ("json", S),
    ),
    "draws": _schema(
        ("draw_id", S), ("round", I32), ("purpose", S), ("prompt_id", S), ("model_id", S),
        ("params_id", S), ("seed", I64), ("n", I32), ("wave", I32), ("bucket", I16),
    ),
    "completions": _schema(
        ("completion_id", S), ("prompt_id", S), ("model_id", S), ("params_id", S),
        ("sample_idx", I32), ("seed", I64), ("text", S), ("reasoning", S), ("text_hash", S),
        ("prompt_token_ids", pa.list_(I32)), ("given_token_ids", pa.list_(I32)),
        ("token_ids", pa.list_(I32)), ("token_hash", S), ("logprobs", pa.list_(F32)),
        ("logprob_sum", F64), ("n_tokens", I32), ("finish_reason", S), ("origin", S),
        ("retokenised", B), ("engine", S), ("engine_version", S), ("shard_id", S), ("bucket", I16),
        ("revises_id", S),
    ),
    "judgements": _schema(
        ("judgement_id", S), ("kind", S), ("judge", S), ("judge_id", S), ("judge_sha", S),
        ("judge_model_id", S), ("aspect", S), ("prompt_id", S), ("completion_ids", _IDS),
        ("completion_id", S), ("status", S), ("score", F64), ("winner_id", S), ("p_first", F64),
        ("raw", S), ("rationale", S), ("parser", S), ("replicate", I32), ("origin", S),
        ("call_id", S), ("model_reported", S), ("tokens_in", I64), ("tokens_out", I64),
        ("cost_microusd", I64), ("latency_ms", F64), ("shard_id", S), ("bucket", I16),
        ("earlier_call_ids", _IDS),
    ),
    "routes": _schema(
        ("route_id", S), ("item_kind", S), ("item_id", S), ("prompt_id", S), ("action", S),
        ("propensity", F64), ("reason", S), ("policy", S), ("policy_version", S),
        ("features", S), ("round", I32), ("bucket", I16),
    ),
    "labels": _schema(
        ("label_id", S), ("task_id", S), ("prompt_id", S), ("completion_ids", _IDS),
        ("annotator", S), ("choice", S), ("winner_id", S), ("score", F64), ("criteria", S),
        ("comment", S), ("seconds", F64), ("supersedes_id", S), ("bucket", I16),
    ),
    "pairs": _schema(
        ("pair_id", S), ("prompt_id", S), ("chosen_id", S), ("rejected_id", S), ("strategy", S),
        ("strategy_id", S), ("score_chosen", F64), ("score_rejected", F64), ("margin", F64),
        ("judge", S), ("source", S), ("chosen_model_id", S), ("rejected_model_id", S),
        ("len_diff", I32), ("on_policy", B), ("weight", F64), ("round", I32), ("bucket", I16),
        ("build_id", S),
    ),
    "sft_examples": _schema(
        ("sft_id", S), ("prompt_id", S), ("completion_id", S), ("strategy", S),
        ("strategy_id", S), ("rank", I32), ("score", F64), ("n_candidates", I32),
        ("judge", S), ("model_id", S), ("round", I32), ("bucket", I16), ("build_id", S),
    ),
    "drops": _schema(
        ("drop_id", S), ("stage", S), ("item_kind", S), ("item_id", S), ("prompt_id", S),
        ("reason", S), ("detail", S), ("strategy", S), ("round", I32),
    ),
    "dataset_versions": _schema(
        ("version_id", S), ("name", S), ("kind", S), ("strategy", S), ("strategy_id", S),
        ("parent_version_id", S), ("n_rows", I64), ("content_hash", S), ("manifest", S),
        ("recipe_id", S), ("code_version", S), ("round", I32), ("build_id", S),
    ),
    "reference_logprobs": _schema(
        ("reference_id", S), ("model_id", S), ("token_hash", S), ("sum_logprob", F64),
        ("n_tokens", I32), ("scorer", S),
    ),
    "checkpoints": _schema(
        ("checkpoint_id", S), ("model_id", S), ("parent_model_id", S), ("kind", S),
        ("version_id", S), ("path", S), ("config", S), ("steps", I32), ("loss_first", F64),
        ("loss_last", F64), ("round", I32),
    ),
    "gates": _schema(
        ("gate_id", S), ("round", I32), ("champion_id", S), ("candidate_id", S), ("judge", S),
        ("judge_id", S), ("n_prompts", I32), ("n_samples", I32), ("prompts_hash", S),
        ("heldout_rate", F64), ("heldout_low", F64), ("heldout_high", F64),
        ("champion_rate", F64), ("difference", F64), ("difference_low", F64),
        ("win_rate", F64), ("win_low", F64), ("mean_length", F64),
        ("champion_mean_length", F64), ("promoted", B), ("reason", S),
    ),
    "gate_verdicts": _schema(
        ("verdict_id", S), ("gate_id", S), ("prompt_id", S), ("champion_score", F64),
        ("candidate_score", F64), ("win", F64), ("bucket", I16),
    ),
}  # fmt: skip
"""Arrow schema of every lake table; the first column is the table's id."""

KEYS: dict[str, str] = {table: schema.names[0] for table, schema in SCHEMAS.items()}
"""The id column of every lake table."""


def as_table(name: str, rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """Rows as an Arrow table of the named schema; a column that a row lacks is null.

    Raises:
        KeyError: when a row has a column the schema does not know.
    """
    schema = SCHEMAS[name]
    known = set(schema.names)
    listed = list(rows)
    for row in listed:
        unknown = set(row) - known
        if unknown:
            raise KeyError(f"{name} has no column {sorted(unknown)}")
    columns = [pa.array([row.get(f.name) for row in listed], type=f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)
