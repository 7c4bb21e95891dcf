"""The training child: from a job file to a sealed checkpoint directory.

It reads the job and a frozen dataset, writes progress lines while it works, and leaves either a
directory that appeared whole or an error file. SIGTERM, or the death of its parent, saves and
stops.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import transformers
from accelerate import PartialState

from factory.errors import Stopped, UserError
from factory.rows import content_id
from factory.training.checkpoints import Checkpoints
from factory.training.collate import PairCollator, SftCollator, Stream
from factory.training.config import TrainJob
from factory.training.data import (
    DatasetManifest,
    Dropped,
    Floats,
    Rows,
    load_rows,
    read_manifest,
    stop_share,
)
from factory.training.files import manifest_of, remove, seal, weights_digest
from factory.training.models import adapted, load_policy, save_policy, stop_ids_of
from factory.training.plan import pack, plan, steps_for
from factory.training.reference import ReferenceTable, Scorer, reference_logps, score_items
from factory.training.trainer import (
    ExactTrainer,
    PairTrainer,
    SftTrainer,
    Watch,
    training_arguments,
)


@dataclass(slots=True)
class Reporter:
    """Appends JSON lines that the parent follows; only the first process writes."""

    path: Path
    silent: bool

    def __post_init__(self) -> None:
        """A child that was killed while writing left half a line: end it."""
        if (
            not self.silent
            and self.path.exists()
            and self.path.read_bytes()[-1:] not in (b"", b"\n")
        ):
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def __call__(self, event: dict[str, object]) -> None:
        """Append one event."""
        if not self.silent:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")


@dataclass(slots=True)
class Stop:
    """Whether somebody wants the run to end: a signal, or a parent that is gone."""

    parent: int = field(default_factory=os.getppid)
    asked: bool = False

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as requests."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __call__(self) -> bool:
        """True when the run should save and end."""
        return self.asked or os.getppid() != self.parent


@dataclass(frozen=True, slots=True)
class Facts:
    """What identifies a run: a finished one with the same facts is the same run."""

    manifest: DatasetManifest
    model_digest: str
    reference_digest: str
    world: int

    def as_dict(self, job: TrainJob) -> dict[str, object]:
        """The JSON form that checkpoints and results carry."""
        return {
            "kind": job.kind,
            "dataset": self.manifest.version_id,
            "tokens_sha256": self.manifest.tokens_sha256,
            "config": job.config.effective(),
            "config_digest": job.config.digest,
            "model": self.model_digest,
            "reference": self.reference_digest,
            "world_size": self.world,
        }


def facts_of(job: TrainJob, *, world: int) -> Facts:
    """Read and check a job's inputs.

    Raises:
        UserError: when the dataset does not belong to this model or is not what its manifest says.
    """
    manifest = read_manifest(job.dataset_dir, kind=job.kind)
    for name in ("tokenizer_digest", "template_digest"):
        ours, theirs = getattr(job, name), getattr(manifest, name)
        if ours and theirs and ours != theirs:
            raise UserError(
                f"the dataset was tokenised with another {name.removesuffix('_digest')} than "
                f"{job.model_dir} has",
                next="prefactory export",
            )
    if not (job.model_dir / "config.json").is_file():
        raise UserError(f"{job.model_dir} holds no model: no config.json", next="prefactory doctor")
    model = weights_digest(job.model_dir)
    reference = weights_digest(job.reference_dir) if job.reference_dir else model
    return Facts(manifest, model, reference, world)


def run(job: TrainJob) -> None:
    """Train the job, or go on with it, or find it finished.

    Raises:
        Stopped: when asked to stop; the work so far is a checkpoint.
        UserError: when inputs, checkpoints or an existing `out_dir` do not fit the job.
    """
    started = time.monotonic()
    stop = Stop()
    stop.listen()
    _settle(job)
    state = PartialState(cpu=not torch.cuda.is_available())
    report = Reporter(job.work_dir / "progress.jsonl", silent=not state.is_main_process)
    facts = facts_of(job, world=state.num_processes).as_dict(job)
    digest = content_id("train", facts)
    done = finished(job.out_dir, digest=digest)
    if state.is_main_process:
        clean(job, done=done)
    if done:
        return
    checkpoints = Checkpoints(job.work_dir / "checkpoints", facts, job.config.keep_checkpoints)
    resume, torn = checkpoints.newest()
    for path in torn:
        report({"event": "torn_checkpoint", "path": str(path)})
    policy = load_policy(job.model_dir, config=job.config, frozen_dropout=job.kind == "dpo")
    rows, dropped = load_rows(
        job.dataset_dir, kind=job.kind, max_length=job.config.max_length,
        vocab_size=policy.config.get_text_config().vocab_size,
        max_drop_share=job.config.max_drop_share,
    )  # fmt: skip
    _check_stops(rows, job=job, stop_ids=stop_ids_of(policy))
    reference = None
    if job.kind == "dpo" and job.config.uses_reference:
        reference = _reference(
            job, policy, rows, facts=facts, state=state, report=report, stop=stop
        )
    trainer, watch = _trainer(
        job, policy, rows, reference=reference, checkpoints=checkpoints, world=state.num_processes,
        report=report, stop=stop,
    )  # fmt: skip
    if resume:
        report({"event": "resume", "path": str(resume)})
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if watch.stopped:
        raise Stopped(
            "training was asked to stop and saved a checkpoint", next="the same command goes on"
        )
    _finish(job, trainer, rows, dropped, facts={**facts, "job_digest": digest}, started=started)


def finished(out_dir: Path, *, digest: str) -> bool:
    """Whether this very job is done.

    Raises:
        UserError: when `out_dir` holds anything else.
    """
    if not out_dir.exists():
        return False
    said = manifest_of(out_dir)
    if said is None or said.get("job_digest") != digest:
        raise UserError(
            f"{out_dir} exists and is not this job's checkpoint", next=f"mv {out_dir} aside"
        )
    return True


def clean(job: TrainJob, *, done: bool) -> None:
    """Remove half-written files of earlier tries; of a finished job, its checkpoints too.

    Optimizer states are twice the size of the weights, and a finished job is never resumed.
    """
    shutil.rmtree(job.work_dir / "staging", ignore_errors=True)
    checkpoints = job.work_dir / "checkpoints"
    if done:
        remove(checkpoints)
    for doomed in checkpoints.glob(".deleting-*"):
        shutil.rmtree(doomed, ignore_errors=True)


def _settle(job: TrainJob) -> None:
    """Determinism and quiet, before any tensor exists."""
    if job.config.threads:
        torch.set_num_threads(job.config.threads)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
        # Filling fresh memory with nan finds bugs in torch, not in us, and costs a pass over it.
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - untyped
    transformers.set_seed(job.config.seed)
    transformers.utils.logging.set_verbosity_warning()


def _check_stops(rows: Rows, *, job: TrainJob, stop_ids: Sequence[int]) -> None:
    share = stop_share(rows, stop_ids=stop_ids)
    if share < job.config.min_stop_share:
        raise UserError(
            f"only {share:.1%} of the completions to learn from end in a stop token "
            f"{sorted(stop_ids)}: the model would forget how to stop",
            next="leave out completions cut at max_tokens, or set train.min_stop_share",
        )


def _reference(
    job: TrainJob, policy: Any, rows: Rows, *, facts: dict[str, object], state: PartialState,
    report: Callable[[dict[str, object]], None], stop: Stop,
) -> Floats:  # fmt: skip
    """Reference values from the table, computing what it lacks with the policy before it moves."""
    config = job.config
    if job.reference_dir:
        model: Any = load_policy(job.reference_dir, config=config, frozen_dropout=True)
    else:
        model = policy
    model.to(state.device)
    scorer = Scorer(str(facts["reference"]), config.dtype, config.attention)

    def on_chunk(done: int, total: int) -> None:
        report({"event": "reference", "done": done, "total": total})
        if stop() and state.num_processes == 1:
            raise Stopped("training was asked to stop; reference values so far are kept",
                          next="the same command goes on")  # fmt: skip

    return reference_logps(
        rows, table=ReferenceTable(job.reference_cache), scorer=scorer, seed=config.seed,
        score=lambda items: score_items(
            model, items, batch_size=2 * config.micro_batch_size, device=torch.device(state.device
            or "cpu"), autocast=torch.bfloat16 if config.dtype == "bfloat16" else None,
        ),
        on_chunk=on_chunk, rank=state.process_index, world=state.num_processes,
        wait=state.wait_for_everyone,
    )  # fmt: skip


def _trainer(
    job: TrainJob, policy: Any, rows: Rows, *, reference: Floats | None, checkpoints: Checkpoints,
    world: int, report: Callable[[dict[str, object]], None], stop: Stop,
) -> tuple[ExactTrainer, Watch]:  # fmt: skip
    config = job.config
    if config.packing and job.kind == "sft":
        units = pack(rows.lengths, capacity=config.max_length, seed=config.seed)
    else:
        units = [[i] for i in range(len(rows))]
    lengths = rows.lengths
    per_unit = torch.tensor([int(lengths[unit].sum()) for unit in units]).numpy()
    steps = steps_for(
        len(units), batch_size=config.batch_size, epochs=config.epochs, max_steps=config.max_steps
    )
    order = plan(per_unit, batch_size=config.batch_size, steps=steps, seed=config.seed)
    stream = Stream(steps=order, units=units, tokens=rows.sides[0].lengths)
    staging = job.work_dir / "staging"
    watch = Watch(report=report, stop=stop)
    shared: dict[str, Any] = {
        "config": config,
        "checkpoints": checkpoints,
        "model": adapted(policy, lora=config.lora),
        "args": training_arguments(
            config, kind=job.kind, steps=steps, staging=staging, world=world
        ),
        "stream": stream,
        "callbacks": [watch],
    }
    if job.kind == "sft":
        collator = SftCollator(rows, packed=config.packing)
        return SftTrainer(data_collator=collator, **shared), watch
    values = reference if reference is not None else torch.zeros(len(rows), 2).double().numpy()
    offsets = config.resolved_gamma + config.margin_scale * rows.margin
    trainer = PairTrainer(
        data_collator=PairCollator(rows, values, offsets),
        reference_is_policy=config.uses_reference and job.reference_dir is None,
        **shared,
    )
    return trainer, watch


def _finish(
    job: TrainJob, trainer: ExactTrainer, rows: Rows, dropped: Sequence[Dropped], *,
    facts: dict[str, object], started: float,
) -> None:  # fmt: skip
    """Seal the checkpoint; its manifest is the job's result."""
    staged = job.work_dir / "staging" / "final"
    if trainer.args.should_save:
        shutil.rmtree(staged, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    save_policy(trainer, staged, source=job.model_dir, config=job.config)
    if not trainer.args.should_save:
        return
    drops_file = job.work_dir / "drops.jsonl"
    drops_file.write_text(
        "".join(json.dumps({"item_id": d.item_id, "reason": d.reason}) + "\n" for d in dropped),
        encoding="utf-8",
    )
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    result = {
        "steps": trainer.state.global_step,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "metrics": trainer.last_metrics,
        "n_rows": len(rows),
        "dropped": dict(Counter(d.reason for d in dropped)),
        "seconds": round(time.monotonic() - started, 3),
        "drops_file": str(drops_file),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    seal(staged, job.out_dir, facts={**facts, "result": result})
    clean(job, done=True)
