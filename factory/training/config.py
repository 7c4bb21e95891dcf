"""What a training job is: its configuration, its inputs and its result, without torch.

The parent writes a `TrainJob` as JSON, the child reads it and leaves a `TrainResult`. Every field
of `TrainConfig` that can change a weight is part of the job's identity, so a resume with an edited
configuration is refused instead of silently mixing two runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from factory.rows import content_id

LossName = Literal["dpo", "dpo_norm", "ipo", "simpo", "hinge"]
Kind = Literal["sft", "dpo"]

DEFAULT_BETA: dict[str, float] = {
    "dpo": 0.1,
    "dpo_norm": 5.0,
    "ipo": 0.1,
    "simpo": 2.0,
    "hinge": 0.1,
}
"""beta where the recipe names none: DPO and IPO papers' 0.1, Tulu 3's 5 for the normalised loss."""

DEFAULT_LEARNING_RATE: dict[str, float] = {"sft": 1e-5, "dpo": 5e-7}
SIMPO_GAMMA = 1.0
IDLE_FIELDS = frozenset({"save_steps", "keep_checkpoints", "log_steps", "max_drop_share"})
"""Fields that cannot change a weight; a resume may change them."""


class LoraSpec(BaseModel):
    """Low-rank adapters through peft (extra `lora`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[str] | Literal["all-linear"] = "all-linear"
    merge: bool = True
    """Save whole merged weights; false saves the adapter alone."""


class TrainConfig(BaseModel):
    """How one checkpoint is trained. Learning rate and beta default by kind and loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: LossName = "dpo_norm"
    beta: float | None = Field(default=None, gt=0)
    gamma: float | None = None
    """Constant target margin in reward units: SimPO's gamma. Null is 1 for simpo, else 0."""
    margin_scale: float = 0.0
    """The dataset's `margin` times this is a per-pair offset (ODPO, arXiv 2402.10571)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    robust: bool = False
    """Smoothed loss is unbiased under label noise (arXiv 2403.00409) instead of cDPO's."""
    nll_coefficient: float = Field(default=0.0, ge=0)
    learning_rate: float | None = Field(default=None, gt=0)
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Replaces `epochs` when given."""
    batch_size: int = Field(default=128, ge=1)
    """Rows (or packs) per optimizer step over all devices."""
    micro_batch_size: int = Field(default=4, ge=1)
    """Rows per forward on one device. Never more than its share of the batch."""
    warmup: float = Field(default=0.1, ge=0)
    """Below 1 a share of all steps, else a number of steps."""
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta2: float = Field(default=0.999, gt=0, lt=1)
    """0.98 suits runs of a few hundred steps: the second moment settles in fifty."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int = Field(default=2048, ge=2)
    """Tokens of prompt and completion. A longer row is dropped, never cut."""
    max_drop_share: float = Field(default=0.05, ge=0, le=1)
    min_stop_share: float = Field(default=0.99, ge=0, le=1)
    """Least share of chosen (or SFT) completions that end in one of the model's stop ids."""
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Forward precision. Master weights are always float32."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa"
    head_chunk: int = Field(default=4096, ge=1)
    """Completion positions whose logits exist at once."""
    packing: bool = False
    """SFT only: whole examples share a row of `max_length` tokens without seeing each other."""
    gradient_checkpointing: bool = False
    lora: LoraSpec | None = None
    threads: int | None = Field(default=None, ge=1)
    """torch threads; null leaves torch's own choice (OMP_NUM_THREADS)."""
    save_steps: int = Field(default=500, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    log_steps: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.label_smoothing and self.loss in {"ipo", "hinge"}:
            raise ValueError(f"label_smoothing has no meaning for the loss {self.loss!r}")
        if self.robust and not self.label_smoothing:
            raise ValueError("robust needs label_smoothing above 0")
        return self

    @property
    def resolved_beta(self) -> float:
        """The recipe's beta, or the loss's own default."""
        return DEFAULT_BETA[self.loss] if self.beta is None else self.beta

    @property
    def resolved_gamma(self) -> float:
        """The constant part of every pair's offset."""
        if self.gamma is not None:
            return self.gamma
        return SIMPO_GAMMA if self.loss == "simpo" else 0.0

    @property
    def uses_reference(self) -> bool:
        """Whether the loss compares with a reference model."""
        return self.loss != "simpo"

    def learning_rate_for(self, kind: Kind) -> float:
        """The recipe's learning rate, or the kind's default."""
        return DEFAULT_LEARNING_RATE[kind] if self.learning_rate is None else self.learning_rate

    def effective(self) -> dict[str, object]:
        """Every field that can change a weight, as JSON values."""
        return self.model_dump(mode="json", exclude=set(IDLE_FIELDS))

    @property
    def digest(self) -> str:
        """Identity of everything in the configuration that can change a weight."""
        return content_id("train_config", self.effective())


class TrainJob(BaseModel):
    """Everything a training child reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    model_dir: Path
    dataset_dir: Path
    out_dir: Path
    work_dir: Path
    """Checkpoints, progress and log of this job alone."""
    config: TrainConfig
    reference_cache: Path
    """SQLite file of reference log-probabilities, shared by all jobs."""
    reference_dir: Path | None = None
    """Fixed anchor. Null: the reference is `model_dir`, the policy that sampled the data."""
    tokenizer_digest: str = ""
    template_digest: str = ""
    """Digests of `model_dir`; where given, they must equal the dataset manifest's."""
    launch: tuple[str, ...] = ()
    """What comes before `factory.training`: ("accelerate", "launch", "-m"), or empty for python."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a finished job says about its checkpoint."""

    out_dir: Path
    steps: int
    loss_first: float
    loss_last: float
    metrics: dict[str, float]
    n_rows: int
    dropped: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0
    job_digest: str = ""
    drops_file: Path | None = None
    """JSON lines of `{"item_id", "reason"}`, one per dropped row."""
