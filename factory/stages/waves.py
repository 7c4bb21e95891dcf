"""What a round asks of whom: the policy, a roster of references, and more where it is needed.

A round begins with wave 0. A later wave asks for the next turn of conversations, and for more
samples of prompts whose answers are still all good or all bad. Every wave is a commit of `draws`
that is computed from the waves before it alone, so a wave that was cut off is asked again as it
was, and no sample is asked for twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory import rooms
from factory.prompting.draw import Asked, append_asked
from factory.prompting.variety import Variety, roster
from factory.recipe import Sampling
from factory.recipe.sampling import PLAIN, Adaptive
from factory.rows import SamplingParams
from factory.stages.conversations import go_on
from factory.stages.plan import PRINCIPLES
from factory.stages.run import Run
from factory.store import Store


def waves_of(run: Run) -> range:
    """The waves that a round of this recipe can have; a wave that asks for nothing is the last."""
    sampling = run.recipe.sampling
    adaptive = sampling.adaptive
    more = math.ceil((adaptive.up_to - sampling.n) / adaptive.step) + 1 if adaptive else 0
    return range(sampling.turns + more)


def variety_of(store: Store, sampling: Sampling) -> Variety:
    """The parameters of train samples, with the texts of the principles that are named.

    Raises:
        UserError: when a principle has no file.
    """
    vary = sampling.vary
    return Variety(
        base=sampling.params(),
        fields={
            "temperature": vary.temperature,
            "top_p": vary.top_p,
            "min_p": vary.min_p,
            "system": {_principle(store, name): weight for name, weight in vary.principles.items()},
        },
    )


def grouped(
    variety: Variety, prompt_ids: Sequence[str], *, model_id: str, seed: int, n: int
) -> dict[tuple[SamplingParams, int], list[str]]:
    """Prompts by parameters and samples with them."""
    found: dict[tuple[SamplingParams, int], list[str]] = {}
    for prompt_id in prompt_ids:
        counts = variety.counts(prompt_id, model_id=model_id, seed=seed, n=n)
        for asked in counts.items():
            found.setdefault(asked, []).append(prompt_id)
    return dict(sorted(found.items(), key=lambda item: (item[0][0].params_id, item[0][1])))


def _principle(store: Store, name: str) -> str:
    if name == PLAIN:
        return ""
    return rooms.read(PRINCIPLES, name, suffix=".md", workspace=store.workspace).text.strip()


def ask(
    run: Run,
    round: int,
    prompt_ids: Sequence[str],
    *,
    policy: str,
    references: Mapping[str, int],
    wave: int = 0,
) -> int:
    """Ask the policy and each prompt's references for their first answers. Returns rows added."""
    sampling, seed = run.recipe.sampling, run.recipe.seed
    variety = variety_of(run.store, sampling)
    k = sampling.references_per_prompt

    def wanted() -> Iterator[tuple[str, str, int, int]]:
        for prompt_id in prompt_ids:
            yield prompt_id, policy, sampling.n, 0
            for model_id in roster(list(references), k=k, prompt_id=prompt_id, seed=seed):
                yield prompt_id, model_id, references[model_id], 0

    return _append(run, round, variety, wanted(), wave=wave)


def ask_more(run: Run, round: int, wave: int) -> dict[str, Any]:
    """What a later wave asks for; `asked` is 0 where the round has all that it wants."""
    return run.once(round, f"ask-{wave}", lambda: _ask_more(run, round, wave), quiet=True)


def _ask_more(run: Run, round: int, wave: int) -> dict[str, Any]:
    sampling = run.recipe.sampling
    left: dict[str, Any] = {"asked": 0}
    if wave < sampling.turns:
        left = {"asked": 0, "conversations": _next_turns(run, round, wave)}
    adaptive = sampling.adaptive
    if adaptive is not None:
        found = _progress(run, round, wave, adaptive)
        left |= _extend(run, round, wave, adaptive, found) | {"tally": _tally(found)}
    left["asked"] += left.get("conversations", 0)
    return left


def _next_turns(run: Run, round: int, wave: int) -> int:
    """Go on with the conversations of the wave before."""
    drawn = run.left(round, "draw")
    ids = go_on(run, round, turn=wave, purpose="train", model_id=drawn["policy"])
    ask(
        run, round, ids, policy=drawn["policy"], references=drawn.get("references", {}), wave=wave
    )  # fmt: skip
    return len(ids)


_PROGRESS = """
with asked as (
  select prompt_id, model_id, params_id, seed, max(n) as n
  from draws
  where run_id = $run_id and round = $round and purpose = 'train' and coalesce(wave, 0) < $wave
  group by all
),
answers as (
  select a.prompt_id, s.score,
    coalesce(c.finish_reason in ('stop', 'recorded'), false) as finished
  from asked a
  join completions c
    on c.prompt_id = a.prompt_id and c.model_id = a.model_id and c.params_id = a.params_id
    and c.seed = a.seed and c.sample_idx < a.n
  join scores s on s.completion_id = c.completion_id and s.judge = $judge
),
seen as (
  select prompt_id, max(score) filter (finished) as best, min(score) as worst
  from answers group by prompt_id
)
select
  a.prompt_id, sum(a.n)::integer as samples,
  coalesce(
    any_value(s.best) > any_value(s.worst)
    and ($good is null or any_value(s.best) >= $good)
    and any_value(s.worst) <= coalesce($bad, 'infinity'::double)
    and ($bad is not null or $good is null or any_value(s.worst) < $good),
    false
  ) as settled
from asked a
left join seen s on s.prompt_id = a.prompt_id
where a.model_id = $policy
group by a.prompt_id
order by a.prompt_id
"""


def _progress(run: Run, round: int, wave: int, adaptive: Adaptive) -> list[dict[str, Any]]:
    """Each prompt's samples of the policy, and whether a good and a bad answer are there.

    Only what earlier waves asked for counts, so a wave that is computed again is the same.
    """
    return run.store.rows(
        _PROGRESS,
        {
            "run_id": run.run_id, "round": round, "wave": wave, "judge": run.recipe.pair_judge,
            "policy": run.left(round, "draw")["policy"], "good": adaptive.good,
            "bad": adaptive.bad,
        },
    )  # fmt: skip


def _extend(
    run: Run, round: int, wave: int, adaptive: Adaptive, found: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Ask for more samples of the prompts that are not settled, up to the cap."""
    policy = run.left(round, "draw")["policy"]
    more = [
        (row["prompt_id"], policy, min(row["samples"] + adaptive.step, adaptive.up_to),
         row["samples"])
        for row in found
        if not row["settled"] and row["samples"] < adaptive.up_to
    ]  # fmt: skip
    variety = variety_of(run.store, run.recipe.sampling)
    _append(run, round, variety, iter(more), wave=wave)
    return {"asked": len(more), "samples": sum(n - known for _, _, n, known in more)}


def _tally(found: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """Prompts by their number of samples: settled, and still all good or all bad."""
    each: dict[int, Counter[bool]] = {}
    for row in found:
        each.setdefault(row["samples"], Counter())[row["settled"]] += 1
    return [
        {"samples": n, "settled": each[n][True], "unsettled": each[n][False]} for n in sorted(each)
    ]


def _append(
    run: Run,
    round: int,
    variety: Variety,
    wanted: Iterator[tuple[str, str, int, int]],
    *,
    wave: int,
) -> int:
    """Fix (prompt, model, samples, samples known before) as draws, in one commit."""
    from factory.sampling.verb import register_params

    used: dict[str, SamplingParams] = {}
    asked: list[Asked] = []
    for prompt_id, model_id, n, known in wanted:
        counts = variety.counts(
            prompt_id, model_id=model_id, seed=run.recipe.seed, n=n, known=known
        )
        for params, count in counts.items():
            params_id = params.params_id
            used[params_id] = params
            asked.append(Asked(prompt_id, model_id, params_id, count))
    for params in used.values():
        register_params(run.store, params, run_id=run.run_id)
    return append_asked(
        run.store, asked, seed=run.recipe.seed, round=round, purpose="train", run_id=run.run_id,
        wave=wave,
    )  # fmt: skip
