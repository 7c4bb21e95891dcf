"""Pairing: a strategy's SQL turns scored completions into pairs, SFT examples and drops."""

from factory.pairing.build import PairReport, build_pairs, build_sft, strategy_id_of
from factory.pairing.checks import check_store
from factory.pairing.scope import Scope
from factory.pairing.strategy import Strategy, load_strategy, strategies

__all__ = [
    "PairReport",
    "Scope",
    "Strategy",
    "build_pairs",
    "build_sft",
    "check_store",
    "load_strategy",
    "strategies",
    "strategy_id_of",
]
