"""What a run does, stage by stage: each binds the recipe to one verb and records the step.

`flows/round.py` names these in order. A stage that is done is not done again: its step in the
ledger says what it left. A stage that died half-way finds by id what is missing.
"""

from factory.stages.exactness import check_exactness
from factory.stages.improve import decide, hold_out, start_from, train_candidate
from factory.stages.label import freeze, judge, judge_candidate, pair
from factory.stages.run import Run, Stage, open_run
from factory.stages.sample import candidate_session, engines, policy_session
from factory.stages.supply import draw, expand, starter
from factory.stages.waves import ask_more, waves_of

__all__ = [
    "Run",
    "Stage",
    "ask_more",
    "candidate_session",
    "check_exactness",
    "decide",
    "draw",
    "engines",
    "expand",
    "freeze",
    "hold_out",
    "judge",
    "judge_candidate",
    "open_run",
    "pair",
    "policy_session",
    "start_from",
    "starter",
    "train_candidate",
    "waves_of",
]
