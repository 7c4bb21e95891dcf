"""Thin trainers on `transformers.Trainer`: loss, row order and saving are ours, the rest is its.

Distribution (DDP, FSDP through accelerate), mixed precision, optimizers and schedules stay the
ecosystem's. What must be exact is overridden: `compute_loss`, the sampler and the checkpoint.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from factory.errors import FactoryError
from factory.training.checkpoints import Checkpoints
from factory.training.collate import Stream
from factory.training.config import TrainConfig
from factory.training.losses import LOSSES, PER_TOKEN, PairLogps, dpo, dpo_norm, rewards

LN2_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-3}


def training_arguments(
    config: TrainConfig, *, kind: str, steps: int, staging: Path, world: int
) -> TrainingArguments:
    """The recipe's configuration in the words of transformers."""
    cuda = torch.cuda.is_available()
    micro = min(config.micro_batch_size, config.batch_size // world)
    return TrainingArguments(
        output_dir=str(staging),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=config.batch_size // (micro * world),
        learning_rate=config.learning_rate_for("sft" if kind == "sft" else "dpo"),
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        adam_beta2=config.adam_beta2,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        data_seed=config.seed,
        bf16=config.dtype == "bfloat16",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        logging_strategy="steps",
        logging_steps=config.log_steps,
        logging_first_step=True,
        # A nan must stop the run; by default it would be logged as the running mean.
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=config.save_steps,
        gradient_checkpointing=config.gradient_checkpointing,
        remove_unused_columns=False,
        average_tokens_across_devices=False,
        disable_tqdm=True,
        report_to=[],
    )


class ExactTrainer(Trainer):
    """Rows in planned order, losses already averaged over the step, checkpoints that are whole."""

    def __init__(
        self, *, config: TrainConfig, checkpoints: Checkpoints, stream: Stream, **kwargs: Any
    ) -> None:
        super().__init__(train_dataset=stream, **kwargs)
        self.stream = stream
        self.config, self.checkpoints = config, checkpoints
        # Each micro-batch divides by its step's totals, so the Trainer must not divide again.
        self.loss_is_scaled_for_ga = True
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
        self.last_metrics: dict[str, float] = {}
        self.pop_callback(PrinterCallback)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.stream)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            staged = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            self.checkpoints.keep(staged, step=self.state.global_step)
        self.accelerator.wait_for_everyone()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of our metrics since the last log."""
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise FactoryError(f"the loss is {logs['loss']} at step {self.state.global_step}")
            logs = {**logs, **self._drain()}
            self.last_metrics = dict(logs)
        super().log(logs, start_time)

    def _note(self, metrics: Mapping[str, Tensor], *, share: Tensor) -> None:
        """Add one micro-batch's means, weighted by its share of the step."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + (value.detach().double() * share).cpu()

    def _drain(self) -> dict[str, float]:
        names = sorted(self._sums)
        if not names:
            return {}
        local = torch.stack([self._sums[name] for name in names]).to(self.args.device)
        summed = self.accelerator.reduce(local, reduction="sum")
        assert isinstance(summed, Tensor)
        total = summed.tolist()
        self._sums.clear()
        # The window since the last log may be shorter than log_steps: its own weight says how long.
        span = total[names.index("_steps")]
        return {n: v / span for n, v in zip(names, total, strict=True) if n != "_steps"}

    @property
    def _world(self) -> int:
        # DDP and FSDP average gradients over devices; a loss that is a step's share must undo that.
        return self.accelerator.num_processes


class SftTrainer(ExactTrainer):
    """Negative log-likelihood of completion tokens, a mean over the whole step's tokens."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:  # fmt: skip
        """This micro-batch's share of the step's loss."""
        names = ("input_ids", "attention_mask", "position_ids", "completion_mask")
        per_token = model(**{k: inputs[k] for k in names if k in inputs})
        nll = -(per_token * inputs["token_weight"][:, 1:]).sum()
        tokens = inputs["completion_mask"][:, 1:].sum()
        share = tokens / inputs["step_tokens"]
        self._note({"nll": nll / tokens, "_steps": torch.ones(())}, share=share)
        return nll / inputs["step_tokens"] * self._world


class PairTrainer(ExactTrainer):
    """A preference loss over pairs plus an optional NLL term on chosen."""

    def __init__(self, *, reference_is_policy: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reference_is_policy = reference_is_policy

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:  # fmt: skip
        """This micro-batch's share of the step's loss."""
        config, beta = self.config, self.config.resolved_beta
        names = ("input_ids", "attention_mask", "completion_mask")
        per_token = model(**{k: inputs[k] for k in names})
        x = pair_logps(per_token, inputs)
        if self.state.global_step == 0 and self.reference_is_policy:
            self._starts_at_the_reference(x)
        per_pair = LOSSES[config.loss](
            x, beta=beta, offset=inputs["offset"], smoothing=config.label_smoothing,
            robust=config.robust,
        )  # fmt: skip
        loss = (per_pair * inputs["weight"]).sum() / inputs["step_slots"]
        if config.nll_coefficient:
            nll = -(x.chosen * inputs["weight"]).sum() / inputs["step_tokens"]
            loss = loss + config.nll_coefficient * nll
        metrics = {name: value.mean() for name, value in rewards(x, beta=beta).items()}
        metrics["logps_sum/chosen"] = x.chosen.mean()
        metrics["logps_sum/rejected"] = x.rejected.mean()
        metrics["nll_per_token/chosen"] = -(x.chosen / x.n_chosen).mean()
        metrics["pair_loss"], metrics["_steps"] = per_pair.mean(), torch.ones(())
        self._note(metrics, share=len(per_pair) / inputs["step_slots"])
        return loss * self._world

    def _starts_at_the_reference(self, x: PairLogps) -> None:
        """Before the first update policy and reference are one model: the DPO loss is ln 2."""
        plain = dpo_norm if self.config.loss in PER_TOKEN else dpo
        loss = plain(x, beta=self.config.resolved_beta).mean().item()
        if not abs(loss - math.log(2)) <= LN2_TOLERANCE[self.config.dtype]:
            raise FactoryError(
                f"policy and reference differ before the first step: DPO loss {loss:.4f}, not ln 2"
            )


def _anywhere(asked: bool, *, device: torch.device) -> bool:
    """Whether any process was asked: all must leave the loop at the same step."""
    if not (dist.is_available() and dist.is_initialized()):
        return asked
    flag = torch.tensor(float(asked), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def pair_logps(per_token: Tensor, inputs: Mapping[str, Tensor]) -> PairLogps:
    """Sums and lengths of chosen and rejected from (2B, T - 1) per-token log-probabilities."""
    chosen, rejected = per_token.sum(dim=1).chunk(2)
    n_chosen, n_rejected = inputs["completion_mask"][:, 1:].sum(dim=1).chunk(2)
    ref_chosen, ref_rejected = inputs["reference"].chunk(2)
    return PairLogps(chosen, rejected, ref_chosen, ref_rejected, n_chosen, n_rejected)


class Watch(TrainerCallback):
    """Reports progress, and turns a request to stop into save-then-stop at the next step's end."""

    def __init__(
        self, *, report: Callable[[dict[str, object]], None], stop: Callable[[], bool]
    ) -> None:
        self._report, self._stop = report, stop
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save and stop when asked."""
        asked = _anywhere(self._stop(), device=args.device)
        if asked and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: dict[str, float] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """One progress line."""
        if state.is_world_process_zero and logs and "loss" in logs:
            self._report(
                {"event": "step", "step": state.global_step, "steps": state.max_steps, **logs}
            )
