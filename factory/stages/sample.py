"""The sampling stage: an engine that starts when the first missing shard is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from factory.stages import models
from factory.stages.run import Run


@dataclass(slots=True)
class Session:
    """Models to sample from in one round, one open engine at a time.

    Nothing starts while every completion is there: a run that goes on after its sampling was done
    does not load a model.
    """

    run: Run
    round: int
    stage: str
    draws: Sequence[dict[str, Any]]
    _open: dict[str, Any] = field(default_factory=dict)

    def shards(self) -> list[Any]:
        """The shards that still miss completions, model by model."""
        from factory.sampling.verb import known_params, plan

        base = self.run.recipe.sampling.params()
        found: list[Any] = []
        for draw in self.draws:
            found += plan(
                self.run.store,
                draws=[draw],
                params=known_params(self.run.store, draw["params_id"], base=base),
                model_dir=models.directory(self.run.store, draw["model_id"]),
                shard_size=self.run.recipe.sampling.shard,
                max_model_len=self.run.recipe.sampling.max_model_len,
                run_id=self.run.run_id,
            )
        return found

    def sample(self, shard: Any) -> int:
        """Sample one shard and commit it; returns the completions added."""
        from factory.sampling.verb import sample_shard

        with self.run.store.ledger.step(self.run.run_id, self.round, self.stage) as step:
            added = sample_shard(
                self.run.store, self._engine(shard.model_id), shard, run_id=self.run.run_id
            )
            step.detail = {"engine": self._open["sampler"].engine, "last_shard": shard.shard_id}
        self.run.progress.advance(added)
        return added

    def _engine(self, model_id: str) -> Any:
        """The engine of this model; another model's engine ends first, its memory with it."""
        from factory.sampling.base import open_sampler

        if self._open.get("model_id") == model_id:
            return self._open["sampler"]
        self.close()
        settings = self.run.recipe.sampling
        path = models.check_unchanged(self.run.store, model_id)
        sampler = open_sampler(
            settings.engine,
            path,
            settings=settings.settings,
            log=self.run.log(self.round, f"{self.stage}-{model_id[:8]}"),
            max_model_len=settings.max_model_len,
        )
        self._open = {"model_id": model_id, "sampler": sampler}
        return sampler

    def close(self) -> None:
        """End the engine, if one runs."""
        if self._open:
            self._open.pop("sampler").close()
            self._open.clear()


@contextmanager
def policy_session(run: Run, round: int, wave: int = 0) -> Iterator[Session]:
    """What a wave of a round samples before training: the policy, its held-out prompts, references.

    What earlier waves asked for is there, or the wave would not have been drawn.
    """
    with _session(run, round, "sample", ("train", "gate"), wave=wave) as session:
        yield session


@contextmanager
def candidate_session(run: Run, round: int) -> Iterator[Session]:
    """The candidate's answers to the held-out prompts."""
    with _session(run, round, "sample-candidate", ("candidate",)) as session:
        yield session


@contextmanager
def gate_session(run: Run, round: int) -> Iterator[Session]:
    """Champion and candidate on the held-out prompts, for a gate typed by hand."""
    with _session(run, round, "sample-gate", ("gate", "candidate")) as session:
        yield session


# A later wave asks for more samples with a larger n: the largest is what is wanted.
_ASKED = """
with asked as (
  select purpose, model_id, params_id, seed, prompt_id, max(n) as n,
    max(coalesce(wave, 0)) as wave
  from draws
  where run_id = $run_id and round = $round and list_contains($purposes, purpose)
  group by all
)
select purpose, model_id, params_id, seed, n, $round::integer as round,
  list(prompt_id order by prompt_id) as prompt_ids
from asked
where wave = $wave
group by all
order by purpose desc, model_id, params_id, n
"""


@contextmanager
def _session(
    run: Run, round: int, stage: str, purposes: tuple[str, ...], *, wave: int = 0
) -> Iterator[Session]:
    rows = run.store.rows(
        _ASKED,
        {"run_id": run.run_id, "round": round, "purposes": list(purposes), "wave": wave},
    )
    session = Session(run, round, stage, rows)
    wanted = sum(row["n"] * len(row["prompt_ids"]) for row in rows)
    run.progress.stage(round, stage, total=wanted)
    try:
        yield session
    finally:
        session.close()
