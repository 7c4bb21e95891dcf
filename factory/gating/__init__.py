"""The gate: a candidate is promoted only when it wins on held-out prompts."""

from factory.gating.decide import Decision, Interval, compare, measure, unit_of
from factory.gating.verb import (
    HeldOut,
    champion_name,
    champion_of,
    gate,
    held_out,
    record_starter,
    rollback,
)

__all__ = [
    "Decision",
    "HeldOut",
    "Interval",
    "champion_name",
    "champion_of",
    "compare",
    "gate",
    "held_out",
    "measure",
    "record_starter",
    "rollback",
    "unit_of",
]
