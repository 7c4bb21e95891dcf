"""Who writes for a maker of prompts: an engine with a model in it, or an endpoint that is paid.

An engine starts when the first making is asked for, so a command that finds everything in the lake
loads no model. Paid calls go through the judges' client: each is in the ledger before it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import FactoryError, RecipeError
from factory.recipe import Endpoint, Sampling
from factory.rows import SamplingParams
from factory.stages import models
from factory.stages.crew import Crew
from factory.store import Store

if TYPE_CHECKING:
    from factory.judging.client.calls import Answer, Client
    from factory.prompting.makers.plan import Making
    from factory.prompting.makers.replies import Said
    from factory.sampling.base import Sampler
    from factory.sampling.requests import Sampled, SampleRequest
    from factory.sampling.thinking import Divider
    from factory.sampling.user_turn import UserTurn

PIECE = 256
"""Makings that one engine gets at once."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A piece of a wave: what one engine is given at once."""

    model_id: str
    shard_id: str
    makings: Sequence[Making]


@dataclass(slots=True)
class EngineWriter:
    """A local model on every free GPU group; makings in, what it wrote out."""

    store: Store
    model_id: str
    sampling: Sampling
    params: SamplingParams
    turn: bool
    """Whether it writes the user's turn itself."""
    run_id: str
    log: Path
    note: Callable[[str], None]
    budget_id: str | None = None
    _crew: Crew | None = None
    _renderer: Any = None
    _divider: Divider | None = None
    _turns: dict[str, UserTurn] = field(default_factory=lambda: dict[str, "UserTurn"]())
    _said: dict[str, Said] = field(default_factory=lambda: dict[str, "Said"]())

    def __post_init__(self) -> None:
        """Where a turn ends is part of the parameters, so it is known before anything is asked."""
        from factory.sampling.render import renderer_for
        from factory.sampling.thinking import divider_for

        path, _ = models.parts(models.check_unchanged(self.store, self.model_id))
        self._renderer = renderer_for(path, engine=self.sampling.engine)
        self._divider = divider_for(self._renderer, self.params)
        if self.turn:
            self.params = replace(self.params, stop=self._turn("").stop)

    def __call__(self, makings: Sequence[Making]) -> dict[str, Said]:
        """Ask about every making; a prompt that cannot be asked about is answered with its reason.

        Raises:
            StageFailed: when engines died again and again; nothing of the wave is kept.
        """
        crew = self._crew = self._crew or Crew(
            self.store, self.sampling, run_id=self.run_id,
            log=lambda name: self.log.with_name(f"{self.log.stem}-{name}.log"),
            note=self.note, work=self._work, budget_id=self.budget_id,
        )  # fmt: skip
        tasks: list[Any] = [
            _Task(self.model_id, part[0].making_id, part)
            for at in range(0, len(makings), PIECE)
            if (part := makings[at : at + PIECE])
        ]
        crew.begin(tasks)
        for task in tasks:
            crew.sample(task)
        said, self._said = self._said, {}
        return said

    def close(self) -> None:
        """End the engines, if any was started."""
        if self._crew is not None:
            self._crew.close()

    def _work(self, sampler: Sampler, task: _Task) -> int:
        """One piece on one engine; several engines write into one dict, each its own ids."""
        said: dict[str, Said] = {}
        requests: list[SampleRequest] = []
        for making in task.makings:
            found = self._request(making, sampler.max_model_len)
            if isinstance(found, str):
                said[making.making_id] = _cannot(found)
            else:
                requests.append(found)
        answers = sampler.sample(requests, self.params) if requests else []
        said |= {answer.prompt_id: self._told(answer, sampler) for answer in answers}
        self._said.update(said)
        return len(said)

    def _turn(self, system: str) -> UserTurn:
        from factory.sampling.user_turn import user_turn

        if system not in self._turns:
            self._turns[system] = user_turn(self._renderer, system=system)
        return self._turns[system]

    def _request(self, making: Making, most: int) -> SampleRequest | str:
        from factory.sampling.render import TemplateRejects
        from factory.sampling.requests import SampleRequest

        try:
            if self.turn:
                system = making.messages[0]["content"] if making.messages else ""
                ids = self._turn(system).prompt_token_ids
            else:
                ids = self._renderer.render(making.messages)
        except (TemplateRejects, ValueError) as bad:
            return f"template_rejects_prompt: {bad}"
        if len(ids) + self.params.max_tokens > most:
            wanted = f"{len(ids)} prompt tokens + {self.params.max_tokens} max_tokens"
            return f"prompt_too_long: {wanted} > {most}"
        said = () if self.turn else tuple(making.messages)
        return SampleRequest(making.making_id, ids, 0, 1, making.seed, said)

    def _told(self, answer: Sampled, sampler: Sampler) -> Said:
        from factory.prompting.makers.replies import Said

        text, reason = answer.text, answer.finish_reason
        if self.turn:
            text, reason = self._turn("").written(self._renderer, answer.token_ids, reason)
        elif self._divider is not None:  # a model that thinks may rehearse prompts before it writes
            divided = self._divider.divide(answer)
            text, reason = divided.text, divided.finish_reason
        return Said(
            text=text, finish_reason=reason, n_tokens=len(answer.token_ids),
            engine=sampler.engine, engine_version=sampler.engine_version,
        )  # fmt: skip


def _cannot(why: str) -> Said:
    from factory.prompting.makers.replies import Said

    reason, _, detail = why.partition(": ")
    return Said(error=reason, detail=detail)


# --- endpoints -----------------------------------------------------------------------------------


@dataclass(slots=True)
class EndpointWriter:
    """An OpenAI-compatible server; makings in, what it wrote out."""

    store: Store
    endpoint: Endpoint
    name: str
    params: SamplingParams
    run_id: str
    budget_id: str | None

    def __call__(self, makings: Sequence[Making]) -> dict[str, Said]:
        """Ask about every making. What the ledger has is not asked for again.

        Raises:
            Stopped: when the endpoint or the budget ends it; what came back is in the ledger.
        """
        from factory.store.database import owner_is_dead

        self.store.ledger.mark_in_doubt(is_dead=owner_is_dead)
        return asyncio.run(self._ask(makings))

    async def _ask(self, makings: Sequence[Making]) -> dict[str, Said]:
        from factory.judging.client.calls import Client, call_of
        from factory.judging.client.prices import priced

        limited, workspace = self.budget_id is not None, self.store.workspace
        # Two makings of one pool may read the same; the seed tells their calls apart.
        revision = self.endpoint.revision
        calls = {
            m.making_id: call_of(self._body(m), replicate=m.seed, revision=revision)
            for m in makings
        }
        client = Client(
            priced(self.endpoint, name=self.name, workspace=workspace, budget=limited),
            name=self.name, ledger=self.store.ledger, budget_id=self.budget_id, run_id=self.run_id,
        )  # fmt: skip
        try:
            kept = await self._kept([call.call_id for call in calls.values()])
            answers = await asyncio.gather(
                *(_answered(client, call, kept) for call in calls.values()), return_exceptions=True
            )
        except BaseException:
            client.stop()
            raise
        finally:
            await client.close()
        failures = [a for a in answers if isinstance(a, BaseException)]
        if failures:
            # A reason that a person can mend goes first; anything else is a bug.
            raise next((f for f in failures if not isinstance(f, FactoryError)), failures[0])
        said: dict[str, Said] = {}
        for (making_id, call), answer in zip(calls.items(), answers, strict=True):
            if not isinstance(answer, BaseException) and answer.reply is not None:
                said[making_id] = _told(answer, call.call_id)
        return said

    def _body(self, making: Making) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": making.messages,
            "max_tokens": self.params.max_tokens,
            "temperature": self.params.temperature,
            "top_p": self.params.top_p,
        }
        body |= self.endpoint.extra_body
        return {name: value for name, value in body.items() if value is not None}

    async def _kept(self, call_ids: Sequence[str]) -> Mapping[str, Answer]:
        """Answers that were paid for by a process that died; calls in doubt are decided."""
        from factory.judging.client.calls import Answer
        from factory.judging.outcomes import Reply

        ledger, hold = self.store.ledger, self.endpoint.in_doubt == "hold"
        known = await asyncio.to_thread(ledger.calls, call_ids)
        doubtful = [row.call_id for row in known.values() if row.state == "in_doubt"]
        if doubtful:
            await asyncio.to_thread(ledger.release_in_doubt, doubtful, hold=hold)
        held = [row.call_id for row in known.values() if row.state == "held"]
        if held and not hold:
            await asyncio.to_thread(ledger.resend_held, held)
        return {
            row.call_id: Answer(
                reply=Reply.loads(row.response),
                cost_microusd=row.cost_microusd,
                latency_ms=row.latency_ms,
            )
            for row in known.values()
            if row.state == "done" and row.response
        }


async def _answered(client: Client, call: Any, kept: Mapping[str, Answer]) -> Answer:
    return kept.get(call.call_id) or await client.ask(call)


def _told(answer: Answer, call_id: str) -> Said:
    from factory.prompting.makers.replies import Said

    reply = answer.reply
    assert reply is not None
    refused = "refused" if reply.refusal or reply.finish_reason == "content_filter" else ""
    return Said(
        text=reply.text,
        finish_reason=reply.finish_reason,
        error=reply.error or refused,
        detail=reply.refusal or "",
        n_tokens=reply.tokens_out,
        engine="endpoint",
        call_id=call_id,
        model_reported=reply.model or None,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        cost_microusd=answer.cost_microusd,
        latency_ms=answer.latency_ms,
    )


@contextmanager
def engine(
    store: Store,
    model_id: str,
    *,
    sampling: Sampling,
    params: SamplingParams,
    turn: bool,
    run_id: str,
    log: Path,
    note: Callable[[str], None],
    budget_id: str | None = None,
) -> Iterator[EngineWriter]:
    """A local model, ended with the block.

    Raises:
        RecipeError: for an engine that shows no template, or that keeps what it samples itself.
    """
    if sampling.engine == "ray" or (sampling.engine == "echo" and turn):
        raise RecipeError(
            f"the {sampling.engine} engine cannot write prompts for this maker",
            next="--set sampling.engine=vllm",
        )
    writer = EngineWriter(store, model_id, sampling, params, turn, run_id, log, note, budget_id)
    try:
        yield writer
    finally:
        writer.close()
