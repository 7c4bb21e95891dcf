"""What a round asks of whom: the policy, a roster of references, and more where it is needed.

A round begins with wave 0. A later wave asks for the next turn of conversations, and for more
samples of prompts whose answers are still all good or all bad. Every wave is a commit of `draws`
that is computed from the waves before it alone, so a wave that was cut off is asked again as it
was, and no sample is asked for twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from factory import rooms
from factory.prompting.draw import Asked, append_asked
from factory.prompting.variety import Variety, roster
from factory.recipe import Sampling
from factory.recipe.sampling import PLAIN
from factory.rows import SamplingParams
from factory.stages.plan import PRINCIPLES
from factory.stages.run import Run
from factory.store import Store


def waves(run: Run) -> range:
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
