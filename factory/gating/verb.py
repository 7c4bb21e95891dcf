"""Writes what the gate found, moves the champion pointer, and moves it back (law 13).

A gate record is immutable and written before the pointer moves: a crash between the two leaves a
record whose pointer move the next run makes, never a move without a record.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factory.errors import UserError
from factory.gating.decide import Decision, Interval, compare, measure, prompt_means
from factory.rows import bucket_of, completion_id_of, content_id
from factory.store import Store

_HELD_OUT = """
select c.prompt_id, s.score, c.n_tokens, p.split
from asked
join completions c using (completion_id)
join scores s on s.completion_id = c.completion_id and s.judge = $judge
join prompts p on p.prompt_id = c.prompt_id
order by c.prompt_id, c.sample_idx
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Scores of one model on the gate prompts, by unit (`unit_of`)."""

    scores: Mapping[str, Sequence[float]]
    mean_length: float

    @property
    def n_samples(self) -> int:
        """Scored samples in all."""
        return sum(len(s) for s in self.scores.values())


def champion_name(line: str) -> str:
    """Name of the champion pointer of a line of models."""
    return f"champion:{line}"


def champion_of(store: Store, line: str) -> str | None:
    """model_id of the champion, or None before there is one."""
    return store.ledger.pointer(champion_name(line))


def held_out(
    store: Store,
    *,
    model_id: str,
    params_id: str,
    seed: int,
    judge: str,
    units: Mapping[str, str],
    samples: int,
    unreached: Collection[str] = (),
) -> HeldOut:
    """Scores of a model's completions of these gate prompts, `samples` of each.

    `units` says of each prompt which unit it is, since a conversation's turn is a prompt of its
    own; `unreached` are units that the model could not be asked.

    Raises:
        UserError: when a prompt is not in the gate split, when no completion is scored, or when
            conversations were gone on with that the judge does not score.
    """
    import pyarrow as pa

    wanted = [
        completion_id_of(
            prompt_id=p, model_id=model_id, params_id=params_id, sample_idx=i, seed=seed
        )
        for p in units
        for i in range(samples)
    ]
    with store.connect(mentioned_in=_HELD_OUT) as con:
        con.register("asked", pa.table({"completion_id": pa.array(wanted, pa.string())}))
        found = con.execute(_HELD_OUT, {"judge": judge}).fetchall()
    strays = {row[0] for row in found if row[3] != "gate"}
    if strays:
        raise UserError(
            f"{len(strays)} prompts are not in the gate split", next="prefactory status"
        )
    if not found:
        raise UserError(
            f"judge {judge} scored no held-out completion of model {model_id}",
            next='prefactory sql "select status, count(*) from judgements group by 1"',
        )
    scores: dict[str, list[float]] = defaultdict(list)
    for prompt_id, score, _, _ in found:
        scores[units[prompt_id]].append(score)
    _require_later_turns(scores, units, judge=judge, model_id=model_id)
    scores |= {unit: [] for unit in unreached}
    lengths = [row[2] for row in found]
    return HeldOut(scores=scores, mean_length=sum(lengths) / len(lengths))


def _require_later_turns(
    scores: Mapping[str, object], units: Mapping[str, str], *, judge: str, model_id: str
) -> None:
    """Refuse a judge that scores first turns alone: the rest of what was sampled is for nothing."""
    later = {unit for prompt_id, unit in units.items() if unit != prompt_id}
    if later and not later & scores.keys():
        raise UserError(
            f"judge {judge} scored no answer of model {model_id} after the first turn of a "
            "conversation: it cannot judge conversations",
            next="--set gate.judge=NAME, a judge that needs no reference  # or sampling.turns=1",
        )


def record_starter(
    store: Store, *, model_id: str, held: HeldOut, judge: str, judge_id: str, run_id: str
) -> str:
    """The gate row of round 0: what the first champion does on the held-out prompts."""
    rate = measure(list(prompt_means(held.scores).values()))
    row = _row(
        held,
        judge=judge,
        judge_id=judge_id,
        round=0,
        champion_id=None,
        candidate_id=model_id,
        settings=[run_id],
    )
    row |= _rate(rate) | {"promoted": True, "reason": "the first champion"}
    _write(store, row, held.scores, champion={}, wins={}, run_id=run_id)
    return str(row["gate_id"])


def gate(
    store: Store,
    *,
    line: str,
    champion_id: str,
    candidate_id: str,
    champion: HeldOut,
    candidate: HeldOut,
    judge: str,
    judge_id: str,
    confidence: float,
    min_win_rate: float,
    round: int,
    run_id: str,
) -> Decision:
    """Compare, write the immutable record, and move the champion pointer if the candidate won."""
    candidate, lost = _with_lost(candidate, champion)
    decision = compare(
        candidate.scores, champion.scores, confidence=confidence, min_win_rate=min_win_rate
    )
    if lost:
        said = f"{decision.reason}, {lost} without a verdict on the candidate counted as lost"
        decision = replace(decision, reason=said)
    same = champion_id == candidate_id
    promoted = decision.promoted and not same
    row = _row(
        candidate,
        judge=judge,
        judge_id=judge_id,
        round=round,
        champion_id=champion_id,
        candidate_id=candidate_id,
        settings=[run_id, confidence, min_win_rate, _scores_hash(champion)],
    )
    row |= _rate(decision.candidate) | {
        "n_prompts": decision.win.n,
        "champion_rate": decision.champion.mean,
        "champion_mean_length": champion.mean_length,
        "difference": _finite(decision.difference.mean),
        "difference_low": _finite(decision.difference.low),
        "win_rate": _finite(decision.win.mean),
        "win_low": _finite(decision.win.low),
        "promoted": promoted,
        "reason": "the candidate is the champion" if same else decision.reason,
    }
    _write(
        store, row, candidate.scores, champion=champion.scores, wins=decision.wins, run_id=run_id
    )
    if promoted:
        store.ledger.move_pointer(
            champion_name(line),
            candidate_id,
            expect=champion_id,
            reason=f"gate {row['gate_id']}: {decision.reason}",
            run_id=run_id,
        )
    return replace(decision, promoted=promoted, reason=str(row["reason"]))


def _with_lost(candidate: HeldOut, champion: HeldOut) -> tuple[HeldOut, int]:
    """The candidate with what it lost because the judge made nothing of its answers, and how many.

    A candidate whose answers get no verdict where the champion's do would else be measured on the
    prompts that suit it.
    """
    lacking = [u for u, said in champion.scores.items() if said and u not in candidate.scores]
    lost: dict[str, Sequence[float]] = dict.fromkeys(lacking, ())
    return replace(candidate, scores={**candidate.scores, **lost}), len(lacking)


def rollback(store: Store, line: str, *, to: str | None = None) -> tuple[str, str]:
    """Move the champion pointer back to the champion before, or to an earlier one.

    Returns the model ids (from, to).

    Raises:
        UserError: when there is nothing to go back to.
    """
    name = champion_name(line)
    history = store.ledger.pointer_history(name)
    now = store.ledger.pointer(name)
    if now is None:
        raise UserError(f"there is no champion of line {line!r}", next="prefactory status")
    earlier = [m["new"] for m in history if m["new"] != now]
    target = to or _before(history, now)
    if target is None or target not in earlier:
        known = ", ".join(dict.fromkeys(earlier)) or "none"
        raise UserError(
            f"{name} cannot go back to {target or 'an earlier champion'}; earlier ones: {known}",
            next='prefactory sql "select * from pointer_moves"',
        )
    store.ledger.move_pointer(name, target, expect=now, reason="rollback")
    return now, target


def _before(history: Sequence[Mapping[str, Any]], now: str) -> str | None:
    """The champion that the present one took over from, rollbacks undone rather than repeated."""
    arrivals = [m for m in history if m["new"] == now and m["reason"] != "rollback"]
    return arrivals[-1]["old"] if arrivals else None


def _row(
    held: HeldOut,
    *,
    judge: str,
    judge_id: str,
    round: int,
    champion_id: str | None,
    candidate_id: str,
    settings: Sequence[object],
) -> dict[str, Any]:
    """The part of a record that is known before the comparison.

    The id covers whatever could change the verdict, so that no move of the pointer can meet an
    older record that says otherwise.
    """
    prompts = content_id("prompts", sorted(held.scores))
    n_prompts = len(prompt_means(held.scores))
    identity = [champion_id, candidate_id, judge_id, round, _scores_hash(held), list(settings)]
    return {
        "gate_id": content_id("gate", identity),
        "round": round,
        "champion_id": champion_id,
        "candidate_id": candidate_id,
        "judge": judge,
        "judge_id": judge_id,
        "n_prompts": n_prompts,
        "n_samples": held.n_samples,
        "prompts_hash": prompts,
        "mean_length": held.mean_length,
    }


def _scores_hash(held: HeldOut) -> str:
    return content_id("scores", {p: list(s) for p, s in held.scores.items()})


def _rate(rate: Interval) -> dict[str, Any]:
    return {
        "heldout_rate": _finite(rate.mean),
        "heldout_low": _finite(rate.low),
        "heldout_high": _finite(rate.high),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write(
    store: Store,
    row: Mapping[str, Any],
    candidate: Mapping[str, Sequence[float]],
    *,
    champion: Mapping[str, Sequence[float]],
    wins: Mapping[str, float],
    run_id: str,
) -> None:
    means, against = prompt_means(candidate), prompt_means(champion)
    verdicts = [
        {
            "verdict_id": content_id("verdict", [row["gate_id"], prompt_id]),
            "gate_id": row["gate_id"],
            "prompt_id": prompt_id,
            "candidate_score": means.get(prompt_id),
            "champion_score": against.get(prompt_id),
            "win": wins.get(prompt_id),
            "bucket": bucket_of(prompt_id),
        }
        for prompt_id in sorted(means.keys() | wins.keys())
    ]
    store.append("gate_verdicts", verdicts, run_id=run_id)
    store.append("gates", [row], run_id=run_id)
