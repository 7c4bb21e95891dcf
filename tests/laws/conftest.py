"""The laws are tested on a run that was played to its end, and on rows made by hand."""

from tests.pairing.conftest import World, world
from tests.walk.conftest import Factory, factory, played

__all__ = ["Factory", "World", "factory", "played", "world"]
