"""What runs: every stage of a run, in order.

`do` runs one step: here in this process, or as a Prefect task (flows/nightly.py). A step that was
done is not done again, so the same file begins a run, goes on with it and finds it finished.
"""

from collections.abc import Callable
from typing import Any

from factory import stages

Do = Callable[[str, Callable[[], Any]], Any]


def play(run: stages.Run, do: Do) -> None:
    """All rounds of a run."""
    do("expand", lambda: stages.expand(run))
    do("starter", lambda: stages.starter(run))
    for number in range(1, run.rounds + 1):
        play_round(run, number, do)


def play_round(run: stages.Run, number: int, do: Do) -> None:
    """One round: the champion answers, judges score, SQL pairs, DPO trains, the gate decides."""
    do(f"draw {number}", lambda: stages.draw(run, number))
    answer(run, number, do)
    do(f"measure {number}", lambda: stages.start_from(run, number))
    do(f"pair {number}", lambda: stages.pair(run, number))
    do(f"freeze {number}", lambda: stages.freeze(run, number))
    do(f"train {number}", lambda: stages.train_candidate(run, number))
    do(f"hold out {number}", lambda: stages.hold_out(run, number))
    sample(stages.candidate_session(run, number), do)
    do(f"judge candidate {number}", lambda: stages.judge_candidate(run, number))
    do(f"gate {number}", lambda: stages.decide(run, number))


def answer(run: stages.Run, number: int, do: Do) -> None:
    """The champion answers and judges score; in waves, as long as the plan asks for more."""
    with stages.engines(run):
        for wave in stages.waves_of(run):
            name = f"{number}.{wave}" if wave else f"{number}"
            if wave:
                more = do(f"ask {name}", lambda w=wave: stages.ask_more(run, number, w))
                if not more["asked"]:
                    return
            sample(stages.policy_session(run, number, wave), do)
            do(f"exactness {name}", lambda: stages.check_exactness(run, number))
            do(f"judge {name}", lambda w=wave: stages.judge(run, number, w))


def sample(session: Any, do: Do) -> None:
    """One step a shard, one engine for all of them."""
    with session as engine:
        for shard in engine.shards():
            do(
                f"{engine.stage} {engine.round} {shard.shard_id[:8]}",
                lambda s=shard: engine.sample(s),
            )
