"""The sampling stage: an engine that starts when the first missing shard is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from factory.stages import cluster, models
from factory.stages.conversations import hold_out_next
from factory.stages.crew import Crew
from factory.stages.run import Run
from factory.stages.waves import waves_of


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
    held_out: tuple[str, ...] = ()
    """Purposes whose conversations are gone on with here, turn by turn."""
    more: bool = False
    """Whether another wave of the round may follow, which the same engines could sample."""
    _crew: Crew | None = None
    _planned: list[Any] = field(default_factory=list)

    def shards(self) -> Iterator[Any]:
        """The shards that still miss completions, model by model.

        Sample each before the next is asked for: held-out conversations are gone on with when all
        that was asked before is answered.
        """
        if self.run.store.ledger.step_detail(self.run.run_id, self.round, "gate") is not None:
            return  # decided: nothing of it is asked again, and its weights may be gone by now
        yield from self._missing(self.draws)
        for turn in range(1, self.run.recipe.sampling.turns if self.held_out else 1):
            gone_on = [
                hold_out_next(self.run, self.round, turn=turn, purpose=purpose)
                for purpose in self.held_out
            ]
            if not any(gone_on):
                return
            rows = _asked(self.run, self.round, self.held_out, wave=turn)
            self.run.progress.stage(self.round, self.stage, total=_samples(rows))
            yield from self._missing(rows)

    def _missing(self, draws: Sequence[dict[str, Any]]) -> list[Any]:
        from factory.sampling.verb import known_params, plan

        base = self.run.recipe.sampling.params()
        found: list[Any] = []
        for draw in draws:
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
        self._crew = self.run.standby.take(self.run.store.ledger) or Crew(
            self.run.store,
            self.run.recipe.sampling,
            run_id=self.run.run_id,
            log=lambda name: self.run.log(self.round, f"{self.stage}-{name}"),
            note=self.run.progress.note,
            elsewhere=cluster.pool,
        )
        return self._crew

    def close(self, *, failed: bool = False) -> None:
        """End the engines, if any run, or keep them for the next wave."""
        crew, self._crew = self._crew, None
        if crew is None:
            return
        if self.more and not failed:
            self.run.standby.put(crew, self.run.store.ledger)
        else:
            crew.close()


def engines(run: Run) -> AbstractContextManager[None]:
    """Around the waves of a round: engines stay open from one to the next."""
    return run.standby.kept(run.store.ledger)


@contextmanager
def policy_session(run: Run, round: int, wave: int = 0) -> Iterator[Session]:
    """What a wave of a round samples before training: the policy, its held-out prompts, references.

    What earlier waves asked for is there, or the wave would not have been drawn.
    """
    held_out = () if wave else ("gate",)
    rows = _asked(run, round, ("train", *held_out), wave=wave)
    more = wave + 1 < len(waves_of(run))
    with _session(Session(run, round, "sample", rows, held_out, more)) as session:
        yield session


@contextmanager
def candidate_session(run: Run, round: int) -> Iterator[Session]:
    """The candidate's answers to the held-out prompts."""
    held_out = ("candidate",)
    rows = _asked(run, round, held_out)
    with _session(Session(run, round, "sample-candidate", rows, held_out)) as session:
        yield session


@contextmanager
def gate_session(run: Run, round: int) -> Iterator[Session]:
    """Champion and candidate on the held-out prompts, for a gate typed by hand."""
    held_out = ("gate", "candidate")
    rows = _asked(run, round, held_out)
    with _session(Session(run, round, "sample-gate", rows, held_out)) as session:
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


def _asked(
    run: Run, round: int, purposes: tuple[str, ...], *, wave: int = 0
) -> list[dict[str, Any]]:
    return run.store.rows(
        _ASKED,
        {"run_id": run.run_id, "round": round, "purposes": list(purposes), "wave": wave},
    )


def _samples(draws: Sequence[dict[str, Any]]) -> int:
    return sum(draw["n"] * len(draw["prompt_ids"]) for draw in draws)


@contextmanager
def _session(session: Session) -> Iterator[Session]:
    session.run.progress.stage(session.round, session.stage, total=_samples(session.draws))
    try:
        yield session
    except BaseException:
        session.close(failed=True)
        raise
    session.close()
