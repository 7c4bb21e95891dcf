"""Every error the factory raises on purpose.

A `UserError` is the user's to mend: the command line prints its one sentence and the next command
to type, without a traceback. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class FactoryError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class UserError(FactoryError):
    """Something the user can mend: one sentence, and the next command to type."""

    def __init__(self, message: str, *, next: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next = next

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (Prefect, child stages); keyword arguments need help.
        return (_rebuild, (type(self), self.message, self.next))


def _rebuild(kind: type[UserError], message: str, next_command: str) -> UserError:
    return kind(message, next=next_command)


class UsageError(UserError):
    """The command was typed wrongly."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe, judge file or mapping says something that cannot be run."""


class MissingExtra(UserError):
    """A package of an optional extra is not installed."""


class Stopped(UserError):
    """Stopped on purpose, nothing lost: the same command goes on from here."""

    exit_code = 75


class BudgetExhausted(Stopped):
    """The next paid call would pass the budget."""


class LeaseHeld(UserError):
    """Another process is doing this work and its heartbeat is fresh."""


class StoreError(FactoryError):
    """The ledger or the lake is damaged, or newer than this program."""


class StageFailed(FactoryError):
    """A child process of a stage ended without a result."""
