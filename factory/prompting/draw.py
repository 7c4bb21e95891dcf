"""Which prompts a round uses: drawn by hash, whatever order they were added in.

Each prompt has a fixed number in [0, 1) for a seed; a round takes the lowest of its pools that no
earlier round of the run took. Adding prompts to a pool between rounds changes what is left, never
what was drawn. With `reuse` the earlier rounds do not matter: a round trains on its own draw from
the whole pool, and held-out prompts are the same in every round, which can then be compared.

Two things may be asked for. Strata keep a domain's or a language's part of every draw, and steering
draws prompts less whose earlier samples were all right or all wrong. A prompt that was found to be
contaminated after it was added is drawn no more.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from factory.errors import UserError
from factory.prompting.steering import UNSEEN, Past, Steer, past_scores, said, steered
from factory.rows import bucket_of, content_id, share_of
from factory.store import Store

Purpose = Literal["train", "gate", "dev"]

_POOL = """
    with earlier as (
        select prompt_id, count(distinct round) as times
        from draws
        where run_id = $run_id and round < $round and purpose = $purpose
        group by prompt_id
    ),
    contaminated as (
        select prompt_id, json_extract_string(try_cast(detail as json), '$.pool') as pool
        from drops where stage = 'expand' and reason = 'contaminated'
    )
    select p.prompt_id, p.pool, coalesce(e.times, 0) as times,
           coalesce(p.domain, '') as domain, coalesce(p.lang, '') as lang,
           coalesce(array_to_string(p.tags, '+'), '') as tags
    from prompts p
    left join earlier e using (prompt_id)
    anti join contaminated c on c.prompt_id = p.prompt_id and c.pool = p.pool
    where p.split = $purpose and p.pool in (select unnest($pools)) and p.messages is not null
      -- A conversation is gone on with in its own round, never drawn.
      and p.parent_completion_id is null
"""
_POOLS = "select pool, split, count(*) as n from prompts where messages is not null group by all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Prompts of a round, sorted by id, and what the user should know of the draw."""

    prompt_ids: list[str]
    reused: int = 0
    """How many an earlier round of this run had drawn."""
    notes: list[str] = field(default_factory=lambda: list[str]())


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Parts of a pool that every draw takes in fixed shares."""

    by: str | tuple[str, ...]
    """domain, lang, tags or difficulty, or several of them."""
    judge: str = ""
    """Whose earlier scores say how difficult a prompt is."""
    weights: Mapping[str, float] = field(default_factory=lambda: dict[str, float]())
    """Value -> how many times its own share of the pool it gets; 1 where it is not named.

    Of several, the values with slashes between them: `math/en`.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """What a pool is divided by, in order."""
        return (self.by,) if isinstance(self.by, str) else self.by

    @property
    def said(self) -> str:
        """The same in one word."""
        return "/".join(self.names)

    def value(self, row: Mapping[str, Any], past: Past) -> str:
        """The stratum of a prompt; what it does not say is a dash."""
        known = {**row, "difficulty": past.difficulty}
        return "/".join(str(known[name] or "-") for name in self.names)


@dataclass(frozen=True, slots=True)
class _Ticket:
    times: int
    share: float
    prompt_id: str
    part: str
    """The pool, or the pool and the stratum in it."""

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
    reuse: bool | int = False,
    strata: Strata | None = None,
    steer: Steer | None = None,
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
            A number is also the most rounds that may draw a train prompt.
        strata: what each pool's part is divided by; by default nothing.
        steer: by whose scores prompts that gave no pairs are drawn less; by default nobody's.

    Raises:
        UserError: no pool of that name, or none with prompts of that split.
    """
    rows = store.query(
        _POOL,
        {"run_id": run_id, "round": round, "purpose": purpose, "pools": list(pools)},
    )
    judge = steer.judge if steer else strata.judge if strata else ""
    past: dict[str, Past] = {}
    if judge and purpose == "train":
        past = past_scores(store, run_id=run_id, round=round, judge=judge)
    most = reuse if not isinstance(reuse, bool) and purpose == "train" else None
    tickets, used_up = _tickets(
        rows, pools, past=past, strata=strata, most=most, purpose=purpose, round=round, seed=seed,
        reuse=bool(reuse),
    )  # fmt: skip
    _there_are_some(store, tickets, purpose=purpose, most=most if used_up else None)
    if past and steer is not None:
        tickets = {p: _steered(t, past, steer, seed, round) for p, t in tickets.items()}
    parts = _parts(tickets, n=n, weights=pools, strata=strata)
    listed = sorted((t for each in tickets.values() for t in each), key=lambda ticket: ticket.order)
    chosen, notes = _take(listed, parts, n=n, purpose=purpose)
    notes += _unknown(strata, listed, purpose=purpose)
    reused = sum(ticket.times > 0 for ticket in chosen)
    notes += _again(reused, of=len(chosen), used_up=used_up, most=most, purpose=purpose)
    ids = sorted(t.prompt_id for t in chosen)
    if past and steer is not None:
        notes += said(past, ids, judge=steer.judge)
    return Drawn(prompt_ids=ids, reused=reused, notes=notes)


def _again(reused: int, *, of: int, used_up: int, most: int | None, purpose: str) -> list[str]:
    """What a draw says of prompts that earlier rounds drew."""
    notes: list[str] = []
    if used_up:
        notes.append(
            f"{used_up} train prompts were drawn {most} times, which is the most that reuse allows"
        )
    if reused:
        notes.append(
            f"{reused} of {of} {purpose} prompts were drawn in an earlier round: "
            "no fresh ones are left"
        )
    return notes


def _tickets(
    rows: pa.Table,
    pools: Iterable[str],
    *,
    past: Mapping[str, Past],
    strata: Strata | None,
    most: int | None,
    purpose: str,
    round: int,
    seed: int,
    reuse: bool,
) -> tuple[dict[str, list[_Ticket]], int]:
    """The tickets of each pool, and how many prompts may be drawn no more."""
    salt = f"draw {seed} {round}" if reuse and purpose == "train" else f"draw {seed}"
    tickets: dict[str, list[_Ticket]] = {pool: [] for pool in sorted(pools)}
    used_up = 0
    for row in (row for batch in rows.to_batches() for row in batch.to_pylist()):
        if most is not None and row["times"] >= most:
            used_up += 1
            continue
        identity, part = row["prompt_id"], row["pool"]
        if strata is not None:
            part = f"{part} {strata.said} {strata.value(row, past.get(identity, UNSEEN))}"
        times = 0 if reuse else row["times"]
        ticket = _Ticket(times, share_of(identity, salt), identity, part)
        tickets[row["pool"]].append(ticket)
    return tickets, used_up


def _steered(
    tickets: Sequence[_Ticket], past: Mapping[str, Past], steer: Steer, seed: int, round: int
) -> list[_Ticket]:
    """The same tickets in an order where the likelier source of pairs tends to come first.

    Fresh prompts stay first. The others are drawn anew each round and not in turn, which would give
    each prompt its turn whatever it is good for.
    """
    found: list[_Ticket] = []
    for ticket in tickets:
        share, times = ticket.share, min(ticket.times, 1)
        if times:
            share = share_of(ticket.prompt_id, f"draw {seed} {round}")
        weight = past.get(ticket.prompt_id, UNSEEN).weight(steer.samples)
        found.append(replace(ticket, times=times, share=steered(share, weight)))
    return found


def _parts(
    tickets: Mapping[str, Sequence[_Ticket]],
    *,
    n: int,
    weights: Mapping[str, float],
    strata: Strata | None,
) -> dict[str, int]:
    """How many of `n` each part of each pool gets."""
    parts = shares_of(n, weights)
    if strata is None:
        return parts
    found: dict[str, int] = {}
    for pool, listed in tickets.items():
        sizes = Counter(ticket.part for ticket in listed)
        head = f"{pool} {strata.said} "
        each = {
            part: size * strata.weights.get(part.removeprefix(head), 1)
            for part, size in sizes.items()
        }
        found |= shares_of(parts[pool], each) if each else {}
    return found


def _unknown(strata: Strata | None, listed: Iterable[_Ticket], *, purpose: str) -> list[str]:
    """Weights that name what no prompt is: mostly a misspelt domain."""
    # How difficult prompts are is not known in the first round, and never of held-out ones.
    if strata is None or not strata.weights or "difficulty" in strata.names:
        return []
    known = {ticket.part.partition(f" {strata.said} ")[2] for ticket in listed}
    missing = sorted(set(strata.weights) - known)
    hint = f"no {purpose} prompt has the {strata.said} {', '.join(missing)}; there are "
    return [hint + ", ".join(sorted(known))] if missing else []


def _take(
    listed: Sequence[_Ticket], parts: Mapping[str, int], *, n: int, purpose: str
) -> tuple[list[_Ticket], list[str]]:
    """Fresh prompts of each part by its number, then what is missing from whoever has some."""
    chosen: list[_Ticket] = []
    left: list[_Ticket] = []
    open_places = Counter(parts)
    for ticket in listed:
        if ticket.times == 0 and open_places[ticket.part] > 0:
            open_places[ticket.part] -= 1
            chosen.append(ticket)
        else:
            left.append(ticket)
    notes = [
        f"pool {part} had {parts[part] - short} fresh {purpose} prompts of the {parts[part]} asked"
        for part, short in sorted(open_places.items())
        if short > 0 and len(parts) > 1
    ]
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
    store: Store,
    tickets: Mapping[str, Sequence[_Ticket]],
    *,
    purpose: str,
    most: int | None,
) -> None:
    if any(tickets.values()):
        return
    if most is not None:
        raise UserError(
            f"every train prompt was drawn {most} times, which is the most that prompts.reuse "
            "allows",
            next=f"prefactory prompts add FILE --pool {next(iter(tickets))}",
        )
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


@dataclass(frozen=True, slots=True)
class Asked:
    """`n` samples of a prompt by one model with one set of parameters."""

    prompt_id: str
    model_id: str
    params_id: str
    n: int


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
    wave: int = 0,
) -> int:
    """Fix a draw: which prompts a model answers in a round, `n` times each. Returns rows added."""
    asked = [Asked(prompt_id, model_id, params_id, n) for prompt_id in prompt_ids]
    return append_asked(
        store, asked, seed=seed, round=round, purpose=purpose, run_id=run_id, wave=wave
    )


def append_asked(
    store: Store,
    asked: Iterable[Asked],
    *,
    seed: int,
    round: int,
    purpose: str,
    run_id: str,
    wave: int = 0,
) -> int:
    """Fix what a wave of a round asks for, in one commit. Returns rows added.

    `n` counts from the first sample: a later wave with a larger `n` asks for what is between.
    """
    rows: list[dict[str, Any]] = []
    for each in asked:
        what = [run_id, round, purpose, each.prompt_id, each.model_id, each.params_id]
        rows.append(
            {
                "draw_id": content_id("draw", [*what, wave] if wave else what),
                "round": round,
                "purpose": purpose,
                "prompt_id": each.prompt_id,
                "model_id": each.model_id,
                "params_id": each.params_id,
                "seed": seed,
                "n": each.n,
                "wave": wave,
                "bucket": bucket_of(each.prompt_id),
            }
        )
    return store.append("draws", rows, run_id=run_id)
