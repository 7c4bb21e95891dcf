"""The sampling stage: an engine that starts when the first missing shard is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from factory.stages import models
from factory.stages.crew import Crew
from factory.stages.run import Run


@dataclass(slots=True)
class Session:
    """Models to sample from in one round.

    Nothing starts while every completion is there: a run that goes on after its sampling was done
    does not load a model.
    """

    run: Run
    round: int
    stage: str
    draws: Sequence[dict[str, Any]]
    _crew: Crew | None = None
    _planned: list[Any] = field(default_factory=list)

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
                model_dir=models.parts(models.directory(self.run.store, draw["model_id"]))[0],
                shard_size=self.run.recipe.sampling.shard,
                max_model_len=self.run.recipe.sampling.context,
                run_id=self.run.run_id,
            )
        self._planned = list(found)
        return found

    def sample(self, shard: Any) -> int:
        """Wait for one shard to be sampled and committed; returns the completions added."""
        with self.run.store.ledger.step(self.run.run_id, self.round, self.stage) as step:
            crew = self._crew or self._gather()
            crew.begin(self._planned)
            self._planned = []
            step.detail = {"last_shard": shard.shard_id}
            try:
                added = crew.sample(shard)
            finally:
                step.detail |= {"engine": crew.engine, "workers": crew.workers}
                if crew.notes:
                    step.detail["notes"] = crew.notes
        self.run.progress.advance(added)
        return added

    def _gather(self) -> Crew:
        self._crew = Crew(
            self.run.store,
            self.run.recipe.sampling,
            run_id=self.run.run_id,
            log=lambda name: self.run.log(self.round, f"{self.stage}-{name}"),
            note=self.run.progress.note,
        )
        return self._crew

    def close(self) -> None:
        """End the engines, if any run."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


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
-- Model by model, so that no engine is loaded twice.
order by model_id, purpose desc, params_id, n
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
