"""Which prompts a round uses: drawn by hash, whatever order they were added in.

Each prompt has a fixed number in [0, 1) for a seed; a round takes the lowest of its pools that no
earlier round of the run took. Adding prompts to a pool between rounds changes what is left, never
what was drawn. With `reuse` the earlier rounds do not matter: a round trains on its own draw from
the whole pool, and held-out prompts are the same in every round, which can then be compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from factory.errors import UserError
from factory.rows import bucket_of, content_id, share_of
from factory.store import Store

Purpose = Literal["train", "gate", "dev"]

_POOL = """
    with earlier as (
        select prompt_id, count(distinct round) as times
        from draws
        where run_id = $run_id and round < $round and purpose = $purpose
        group by prompt_id
    )
    select p.prompt_id, p.pool, coalesce(e.times, 0) as times
    from prompts p left join earlier e using (prompt_id)
    where p.split = $purpose and p.pool in (select unnest($pools)) and p.messages is not null
"""
_POOLS = "select pool, split, count(*) as n from prompts where messages is not null group by all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Prompts of a round, sorted by id, and what the user should know of the draw."""

    prompt_ids: list[str]
    reused: int = 0
    """How many an earlier round of this run had drawn."""
    notes: list[str] = field(default_factory=lambda: list[str]())


@dataclass(frozen=True, slots=True)
class _Ticket:
    times: int
    share: float
    prompt_id: str

    @property
    def order(self) -> tuple[int, float, str]:
        return (self.times, self.share, self.prompt_id)


def draw_prompts(
    store: Store,
    *,
    run_id: str,
    round: int,
    n: int,
    purpose: Purpose,
    pools: Mapping[str, float],
    seed: int,
    reuse: bool = False,
) -> Drawn:
    """Draw up to `n` prompts of a split.

    Args:
        store: where the prompts and the earlier draws are.
        run_id: the run; other runs' draws do not count.
        round: this round; only earlier rounds count, so drawing again gives the same.
        n: how many.
        purpose: which split: train, gate or dev.
        pools: pool -> weight; a pool's part of `n` is its part of the weights. What a pool is short
            of is taken from the others.
        seed: of the order.
        reuse: draw as if no earlier round had; train prompts anew each round, held-out ones alike.

    Raises:
        UserError: no pool of that name, or none with prompts of that split.
    """
    rows = store.query(
        _POOL,
        {"run_id": run_id, "round": round, "purpose": purpose, "pools": list(pools)},
    )
    columns = (rows.column(name).to_pylist() for name in ("prompt_id", "pool", "times"))
    tickets: dict[str, list[_Ticket]] = {pool: [] for pool in sorted(pools)}
    salt = f"draw {seed} {round}" if reuse and purpose == "train" else f"draw {seed}"
    for prompt_id, pool, times in zip(*columns, strict=True):
        share = share_of(prompt_id, salt)
        tickets[pool].append(_Ticket(0 if reuse else times, share, prompt_id))
    _there_are_some(store, tickets, purpose=purpose)
    for listed in tickets.values():
        listed.sort(key=lambda ticket: ticket.order)
    chosen, notes = _take(tickets, n=n, weights=pools, purpose=purpose)
    reused = sum(ticket.times > 0 for ticket in chosen)
    if reused:
        notes.append(
            f"{reused} of {len(chosen)} {purpose} prompts were drawn in an earlier round: "
            "no fresh ones are left"
        )
    return Drawn(prompt_ids=sorted(t.prompt_id for t in chosen), reused=reused, notes=notes)


def _take(
    tickets: Mapping[str, list[_Ticket]], *, n: int, weights: Mapping[str, float], purpose: str
) -> tuple[list[_Ticket], list[str]]:
    """Fresh prompts of each pool by its part, then what is missing from whoever has some."""
    notes: list[str] = []
    parts = shares_of(n, weights)
    chosen: list[_Ticket] = []
    left: list[_Ticket] = []
    for pool, listed in tickets.items():
        fresh = [t for t in listed if t.times == 0]
        chosen += fresh[: parts[pool]]
        left += listed[min(parts[pool], len(fresh)) :]
        if len(fresh) < parts[pool] and len(tickets) > 1:
            notes.append(
                f"pool {pool} had {len(fresh)} fresh {purpose} prompts of the {parts[pool]} asked"
            )
    left.sort(key=lambda ticket: ticket.order)
    chosen += left[: n - len(chosen)]
    if len(chosen) < n:
        notes.append(f"the pools hold {len(chosen)} {purpose} prompts, {n} were asked for")
    return chosen, notes


def shares_of(n: int, weights: Mapping[str, float]) -> dict[str, int]:
    """`n` in whole parts by weight (largest remainder); ties go to the first name.

    Raises:
        UserError: when a weight is not positive.
    """
    if any(weight <= 0 for weight in weights.values()):
        raise UserError("a pool's weight must be above 0", next="edit prompts.pools in the recipe")
    total = sum(weights[name] for name in sorted(weights))
    exact = {name: n * weights[name] / total for name in sorted(weights)}
    parts = {name: int(value) for name, value in exact.items()}
    by_rest = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in by_rest[: n - sum(parts.values())]:
        parts[name] += 1
    return parts


def _there_are_some(
    store: Store, tickets: Mapping[str, Sequence[_Ticket]], *, purpose: str
) -> None:
    if any(tickets.values()):
        return
    counted = store.rows(_POOLS)
    known = sorted({r["pool"] for r in counted})
    for pool in tickets:
        if pool not in known:
            near = difflib.get_close_matches(pool, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or '-'}"
            raise UserError(
                f"there is no pool {pool!r}; {hint}",
                next=f"prefactory prompts add FILE --pool {pool}",
            )
    sizes = {r["split"]: r["n"] for r in counted if r["pool"] in tickets}
    raise UserError(
        f"the pools {', '.join(tickets)} have no {purpose} prompts: {sizes}",
        next=f"prefactory prompts add FILE --pool {next(iter(tickets))}",
    )


def append_draws(
    store: Store,
    *,
    prompt_ids: Iterable[str],
    model_id: str,
    params_id: str,
    seed: int,
    n: int,
    round: int,
    purpose: str,
    run_id: str,
) -> int:
    """Fix a draw: which prompts a model answers in a round, `n` times each. Returns rows added."""
    rows = [
        {
            "draw_id": content_id("draw", [run_id, round, purpose, prompt_id, model_id, params_id]),
            "round": round,
            "purpose": purpose,
            "prompt_id": prompt_id,
            "model_id": model_id,
            "params_id": params_id,
            "seed": seed,
            "n": n,
            "bucket": bucket_of(prompt_id),
        }
        for prompt_id in prompt_ids
    ]
    return store.append("draws", rows, run_id=run_id)
