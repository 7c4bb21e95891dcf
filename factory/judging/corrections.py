"""Correction turns: a judge whose reply holds no verdict is told so and asked again, a few times.

A turn is a call like any other: in the ledger, paid, and found again after a kill, because its id
is its request, which holds the reply that it corrects. Nothing that can be read is ever asked for
again, so a correction can mend a form and never change a verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from factory.judging.client.calls import Answer, Call, call_of
from factory.judging.files import Judge
from factory.judging.outcomes import Reply
from factory.judging.plan import Task
from factory.judging.work import read

_WORDS = {
    "conflicting_verdicts": "It holds two verdicts that differ.",
    "off_scale": "Its number is not on the scale.",
    "not_an_integer": "Its number is not whole.",
    "incomplete_list": "It leaves an answer out.",
    "named_twice": "It names an answer twice.",
    "unknown_text": "It names an answer that there is not.",
    "no_revision": "Its parts are not marked as asked.",
}
_FINAL = frozenset({"not_applicable", "no_logprobs"})
"""What a judge meant, or what its endpoint cannot give: asking again would change nothing."""


def reason_to_ask(judge: Judge, reply: Reply, *, shown: int) -> str:
    """Why a reply is worth a correction; empty where it has a verdict, or will never have one."""
    verdicts = read(judge, reply, shown=shown)
    reasons = {v.reason for v in verdicts if v.status == "unparsed"} - _FINAL
    whole = len(verdicts) == 1 or len({v.reason for v in verdicts}) == 1
    return min(reasons) if reasons and whole else ""


def call_after(
    call: Call, reply: Reply, reason: str, *, replicate: int, revision: str | None = None
) -> Call:
    """The call that answers an unreadable reply."""
    told = (
        f"No verdict can be read in your reply. {_WORDS.get(reason, '')}".strip()
        + " Reply once more, in exactly the form that was asked for and with nothing else."
    )
    turns = [{"role": "assistant", "content": reply.text}, {"role": "user", "content": told}]
    # Some servers refuse an empty turn of the assistant.
    listed = [*call.body["messages"], *(t for t in turns if t["content"].strip())]
    return call_of({**call.body, "messages": listed}, replicate=replicate, revision=revision)


async def correct(
    judge: Judge,
    calls: list[tuple[Task, Call]],
    answers: list[Answer | BaseException],
    *,
    ask: Callable[[Sequence[Call]], Awaitable[list[Answer | BaseException]]],
    revision: str | None = None,
) -> list[list[tuple[Call, Answer]]]:
    """Ask again where no verdict can be read, at most as often as the judge's file says.

    `calls` and `answers` become those of the last turn; returns the turns before it, for each call.
    """
    earlier: list[list[tuple[Call, Answer]]] = [[] for _ in calls]
    for _ in range(judge.front.corrections):
        wrong: list[tuple[int, Answer, Call]] = []
        for i, ((task, call), answer) in enumerate(zip(calls, answers, strict=True)):
            if not isinstance(answer, Answer) or answer.reply is None:
                continue
            reason = reason_to_ask(judge, answer.reply, shown=len(task.completion_ids))
            if reason:
                after = call_after(
                    call, answer.reply, reason, replicate=task.replicate, revision=revision
                )
                wrong.append((i, answer, after))
        if not wrong:
            break
        found = await ask([call for _, _, call in wrong])
        for (i, answer, call), corrected in zip(wrong, found, strict=True):
            task, before = calls[i]
            earlier[i].append((before, answer))
            calls[i], answers[i] = (task, call), corrected
    return earlier
