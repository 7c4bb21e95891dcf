"""Who writes for a maker of prompts: an engine with a model in it, or an endpoint that is paid.

An engine starts when the first making is asked for, so a command that finds everything in the lake
loads no model. Paid calls go through the judges' client: each is in the ledger before it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import FactoryError, RecipeError
from factory.recipe import Endpoint, Sampling
from factory.rows import SamplingParams
from factory.store import Store, devices

if TYPE_CHECKING:
    from factory.judging.client import Answer, Client
    from factory.prompting.makers.plan import Making
    from factory.prompting.makers.replies import Said
    from factory.sampling.requests import SampleRequest
    from factory.sampling.user_turn import UserTurn


@dataclass(slots=True)
class EngineWriter:
    """A local model; makings in, what it wrote out."""

    store: Store
    path: Path
    sampling: Sampling
    params: SamplingParams
    turn: bool
    """Whether it writes the user's turn itself."""
    log: Path
    _open: ExitStack = field(default_factory=ExitStack)
    _sampler: Any = None
    _renderer: Any = None
    _turns: dict[str, UserTurn] = field(default_factory=lambda: dict[str, "UserTurn"]())

    def __post_init__(self) -> None:
        """Where a turn ends is part of the parameters, so it is known before anything is asked."""
        from factory.sampling.render import renderer_for

        self._renderer = renderer_for(self.path, engine=self.sampling.engine)
        if self.turn:
            self.params = replace(self.params, stop=self._turn("").stop)

    def __call__(self, makings: Sequence[Making]) -> dict[str, Said]:
        """Ask about every making; a prompt that cannot be asked about is answered with its reason.

        Raises:
            StageFailed: when the engine died; nothing of the wave is kept.
        """
        sampler = self._engine()
        said: dict[str, Said] = {}
        requests: list[SampleRequest] = []
        for making in makings:
            found = self._request(making, sampler.max_model_len)
            if isinstance(found, str):
                said[making.making_id] = _cannot(found)
            else:
                requests.append(found)
        answers = sampler.sample(requests, self.params) if requests else []
        said |= {answer.prompt_id: self._said(answer, sampler) for answer in answers}
        return said

    def close(self) -> None:
        """End the engine, if it was started."""
        self._open.close()

    def _engine(self) -> Any:
        if self._sampler is None:
            from factory.sampling.base import open_sampler

            settings = self.sampling
            self.log.parent.mkdir(parents=True, exist_ok=True)
            size = int(settings.settings.get("tensor_parallel_size", 1))
            (group,) = self._open.enter_context(devices.hold(self.store.ledger, size=size))
            self._sampler = open_sampler(
                settings.engine,
                self.path,
                settings=settings.settings,
                log=self.log,
                max_model_len=settings.max_model_len,
                env=group.env,
            )
            self._open.callback(self._sampler.close)
        return self._sampler

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
        return SampleRequest(making.making_id, ids, 0, 1, making.seed)

    def _said(self, answer: Any, sampler: Any) -> Said:
        from factory.prompting.makers.replies import Said

        text, reason = answer.text, answer.finish_reason
        if self.turn:
            text, reason = self._turn("").written(self._renderer, answer.token_ids, reason)
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
        from factory.judging.client import Client, call_of

        # Two makings of one pool may read the same; the seed tells their calls apart.
        calls = {m.making_id: call_of(self._body(m), replicate=m.seed) for m in makings}
        client = Client(
            self.endpoint, name=self.name, ledger=self.store.ledger, budget_id=self.budget_id,
            run_id=self.run_id,
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
        from factory.judging.client import Answer
        from factory.judging.outcomes import Reply

        ledger = self.store.ledger
        known = await asyncio.to_thread(ledger.calls, call_ids)
        doubtful = [row.call_id for row in known.values() if row.state == "in_doubt"]
        if doubtful:
            hold = self.endpoint.in_doubt == "hold"
            await asyncio.to_thread(ledger.release_in_doubt, doubtful, hold=hold)
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
    store: Store, path: Path, *, sampling: Sampling, params: SamplingParams, turn: bool, log: Path
) -> Iterator[EngineWriter]:
    """A local model, ended with the block.

    Raises:
        RecipeError: for a turn of the model's own where the engine has no template.
    """
    if sampling.engine == "echo" and turn:
        raise RecipeError(
            "the echo engine writes no turn of its own", next="--set sampling.engine=transformers"
        )
    writer = EngineWriter(store, path, sampling, params, turn, log)
    try:
        yield writer
    finally:
        writer.close()
