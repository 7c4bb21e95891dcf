"""Conversations: a model answers the user's next turn after its own first finished answer.

What it is asked then is a prompt like any other, of its first turn's pool and split. Every model
goes on from its own answers, so two models that a gate compares have different conversations, which
are compared turn by turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from factory.gating import unit_of
from factory.rows import bucket_of, canonical, prompt_id_of
from factory.stages.run import Run

_TO_GO_ON = """
with asked as (
  select prompt_id, params_id, seed, max(n) as n
  from draws
  where run_id = $run_id and round = $round and purpose = $purpose and model_id = $model
    and coalesce(wave, 0) < $turn
  group by all
),
newest as (
  select prompt_id from draws
  where run_id = $run_id and round = $round and purpose = $purpose and model_id = $model
  group by prompt_id having min(coalesce(wave, 0)) = $turn - 1
),
answered as (
  select c.prompt_id, c.completion_id, c.text
  from completions c
  join asked a
    on a.prompt_id = c.prompt_id and a.params_id = c.params_id and a.seed = c.seed
    and c.sample_idx < a.n
  where c.model_id = $model and c.finish_reason = 'stop' and c.text <> ''
  qualify row_number() over (
    partition by c.prompt_id order by c.sample_idx, c.completion_id
  ) = 1
)
select p.prompt_id, p.pool, p.source, p.source_id, p.domain, p.lang, p.license, p.split, p.tags,
  p.messages, p.next_turns, a.completion_id, a.text
from prompts p
join newest using (prompt_id)
left join answered a on a.prompt_id = p.prompt_id
where p.next_turns is not null
order by p.prompt_id
"""

_HELD_OUT = """
select distinct p.prompt_id, c.prompt_id as before, p.next_turns is not null as goes_on
from draws d
join prompts p using (prompt_id)
left join completions c on c.completion_id = p.parent_completion_id
where d.run_id = $run_id and d.round = $round and d.purpose = $purpose and d.model_id = $model
  and coalesce(d.wave, 0) = $turn
order by 1
"""


def go_on(run: Run, round: int, *, turn: int, purpose: str, model_id: str) -> list[str]:
    """Make the prompts of a turn, from 1, of the conversations that a model is in; gives their ids.

    A conversation without a finished answer ends, with a drop that says so.
    """
    rows = run.store.rows(
        _TO_GO_ON,
        {"run_id": run.run_id, "round": round, "turn": turn, "purpose": purpose, "model": model_id},
    )
    run.store.drop(
        "converse",
        [
            {"item_kind": "prompt", "item_id": row["prompt_id"], "prompt_id": row["prompt_id"],
             "reason": "no_answer_to_go_on_from", "round": round}
            for row in rows if row["completion_id"] is None
        ],
        run_id=run.run_id,
    )  # fmt: skip
    made = [_gone_on(row) for row in rows if row["completion_id"] is not None]
    run.store.append("prompts", made, run_id=run.run_id)
    return sorted({row["prompt_id"] for row in made})


def _gone_on(row: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt that a conversation becomes with an answer and the user's next turn."""
    turn, *later = json.loads(row["next_turns"])
    messages = [
        *json.loads(row["messages"]),
        {"role": "assistant", "content": row["text"]},
        {"role": "user", "content": turn},
    ]
    identity = prompt_id_of(messages)
    kept = ("pool", "source", "source_id", "domain", "lang", "license", "split", "tags")
    return {
        **{name: row[name] for name in kept},
        "prompt_id": identity,
        "messages": canonical(messages).decode(),
        "next_turns": canonical(later).decode() if later else None,
        "parent_completion_id": row["completion_id"],
        "n_chars": sum(len(m["content"]) for m in messages),
        "bucket": bucket_of(identity),
    }


def hold_out_next(run: Run, round: int, *, turn: int, purpose: str) -> int:
    """Have each model of a purpose answer a turn, from 1, of its held-out conversations.

    Returns how many were gone on with.
    """
    from factory.prompting.draw import append_draws

    models = run.store.rows(
        "select distinct model_id from draws where run_id = $run_id and round = $round "
        "and purpose = $purpose order by 1",
        {"run_id": run.run_id, "round": round, "purpose": purpose},
    )
    found = 0
    for row in models:
        ids = go_on(run, round, turn=turn, purpose=purpose, model_id=row["model_id"])
        append_draws(
            run.store, prompt_ids=ids, model_id=row["model_id"],
            params_id=run.recipe.sampling.params().params_id, seed=run.recipe.seed,
            n=run.recipe.gate.samples, round=round, purpose=purpose, run_id=run.run_id, wave=turn,
        )  # fmt: skip
        found += len(ids)
    return found


def held_out_units(
    run: Run, round: int, *, purpose: str, model_id: str
) -> tuple[dict[str, str], set[str]]:
    """What a model was asked for the gate: prompt -> its unit, a turn of a held-out prompt.

    Also the units that it could not be asked, because it had no finished answer to go on from.
    """
    turns = run.recipe.sampling.turns
    units: dict[str, str] = {}
    unreached: set[str] = set()
    going: dict[str, str] = {}
    for turn in range(turns):
        rows = run.store.rows(
            _HELD_OUT,
            {"run_id": run.run_id, "round": round, "turn": turn, "purpose": purpose,
             "model": model_id},
        )  # fmt: skip
        root = {r["prompt_id"]: going[r["before"]] if turn else r["prompt_id"] for r in rows}
        units |= {prompt_id: unit_of(first, turn) for prompt_id, first in root.items()}
        ended = set(going.values()) - set(root.values())
        # Further turns than a conversation has do no harm: the other model has none of them.
        unreached |= {unit_of(first, later) for first in ended for later in range(turn, turns)}
        going = {r["prompt_id"]: root[r["prompt_id"]] for r in rows if r["goes_on"]}
    return units, unreached
