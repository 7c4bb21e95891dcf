"""How an engine fails: what is tried again elsewhere, and what is tried again with less."""

from __future__ import annotations

from factory.errors import StageFailed, UserError


class EngineClosed(StageFailed):
    """The engine was ended, not by this batch: nothing is wrong with what was asked."""


class WorkerGone(StageFailed):
    """There is nowhere for this worker to run any more: whoever is left does its work."""


class OutOfMemory(UserError):
    """The engine ran out of memory; a smaller batch may fit."""
