"""What of the benchmarks a conversation holds, in any of the user's turns.

A prompt is looked at as the model is first given it. Where a user says more than one thing, before
or after that, each turn is looked at on its own, too: a benchmark's item is one whatever was said
before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factory.prompting.cleaning.benchmarks import later_turns, user_turns
from factory.prompting.cleaning.index import Index, Match, ranked


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and the turns that are still to come."""

    told: list[str]
    """What the model is first given: every message but its own."""
    later: list[str]
    numbers: list[int]
    """Of each of `told` and `later`: which turn of the user it is, from 1; 0 comes before."""

    @classmethod
    def of(cls, prompt: Mapping[str, Any]) -> Conversation:
        """That of a row of `prompts`."""
        messages: list[Mapping[str, str]] = json.loads(prompt["messages"])
        later = later_turns(prompt.get("next_turns"))
        numbers: list[int] = []
        turn = 0
        for message in messages:
            turn += message["role"] == "user"
            if message["role"] != "assistant":
                numbers.append(turn)
        numbers += range(turn + 1, turn + 1 + len(later))
        return cls(user_turns(messages), later, numbers)

    @property
    def several(self) -> bool:
        """Whether there is more than one turn to tell apart."""
        return len(self.numbers) > 1

    def number(self, turn: int | None) -> int | None:
        """Which turn of the user one of `told` and `later` is; None for all of them."""
        return None if turn is None else self.numbers[turn]

    def alone(self) -> list[int]:
        """The turns that are looked at on their own: where a user has several, all of them."""
        if len({number for number in self.numbers if number}) < 2:
            return []
        return [at for at, number in enumerate(self.numbers) if number]


def matches_of(index: Index, asked: Sequence[Conversation]) -> list[list[Match]]:
    """What each conversation has of the items; the best match of an item, the best item first."""
    found = index.find([each.told for each in asked])
    places = [(at, turn) for at, each in enumerate(asked) for turn in each.alone()]
    if not places:
        return found
    texts = [[(asked[at].told + asked[at].later)[turn]] for at, turn in places]
    for (at, turn), matches in zip(places, index.find(texts, follow_ups=True), strict=True):
        found[at] += [replace(match, turn=turn) for match in matches]
    return [ranked(matches) for matches in found]
