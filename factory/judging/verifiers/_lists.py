"""What constraints of IFBench count: people, pronouns, capitals, primes.

Which words count is part of a constraint's definition (github.com/allenai/IFBench, Apache-2.0): the
people are named in the published prompts themselves. Pronouns are set down by their kind, capitals
by their latitude.
"""

from __future__ import annotations


def _words(*texts: str) -> list[str]:
    return [word for text in texts for word in text.split()]


NAMES = tuple(
    _words(
        "Abigail Alexander Amelia Andrew Aria Audrey Ava Benjamin Charlotte Chloe Christopher "
        "Claire Daniel David Elijah Ella Emma Ethan Gabriel Grace Hannah Harper Isabella Jackson "
        "Jacob Jonathan Joseph Layla Leo Liam Lily Lucas Mason Matthew Mia Nathan Nicholas Noah "
        "Nora Olivia Owen Penelope Ryan Samuel Scarlett Sophia Stella Thomas Victoria Zoe"
    )
)
"""The people that prompts of `count:person_names` list."""

PRONOUNS = frozenset(
    _words(
        "i we you he she it they me us him her them",
        "my your his its our their mine yours hers ours theirs",
        *(f"{whose}self" for whose in ("my", "your", "him", "her", "it")),
        *(f"{whose}selves" for whose in ("our", "your", "them")),
        "this these that those who whom whose which what",
        *(f"{which}ever" for which in ("who", "whom", "which", "what")),
        *(f"{how}{who}" for how in ("any", "every", "no", "some") for who in ("body", "thing")),
        *(f"{how}one" for how in ("any", "every", "some")),
        "all any both each either neither none some",
    )
)
"""Personal, possessive, reflexive, demonstrative, relative and indefinite ones of one word."""

_LATITUDES = {
    "Amsterdam": 52.4, "Berlin": 52.5, "Bern": 46.9, "Bratislava": 48.1, "Brussels": 50.8,
    "Budapest": 47.5, "Chisinau": 47.0, "Copenhagen": 55.7, "Dublin": 53.3, "Helsinki": 60.2,
    "Ljubljana": 46.1, "London": 51.5, "Luxembourg": 49.6, "Minsk": 53.9, "Moscow": 55.8,
    "Oslo": 59.9, "Paris": 48.9, "Prague": 50.1, "Reykjavik": 64.1, "Riga": 56.9,
    "Stockholm": 59.3, "Tallinn": 59.4, "Vaduz": 47.1, "Vienna": 48.2, "Vilnius": 54.7,
    "Warsaw": 52.2, "Zagreb": 45.8,
}  # fmt: skip

CAPITALS = tuple(sorted(_LATITUDES, key=_LATITUDES.__getitem__, reverse=True))
"""European capitals above 45 degrees, from the north; without Kyiv, as the reference has them."""

PRIMES = frozenset(n for n in range(2, 100) if all(n % k for k in range(2, n)))
