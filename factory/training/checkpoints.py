"""Checkpoints that are whole or do not exist, and a resume that refuses to mix runs.

transformers writes into a staging directory; only a complete, fsynced copy with a manifest of
digests is renamed into place. On resume a torn checkpoint is passed over for the previous whole
one, and a whole one that belongs to another dataset, configuration or model is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from factory.errors import UserError
from factory.training.files import manifest_of, remove, seal

PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one job, newest last."""

    directory: Path
    facts: Mapping[str, object]
    """What a checkpoint must agree with: dataset id, config, model and reference digests, world."""
    keep_last: int

    def all(self) -> list[Path]:
        """Every checkpoint directory, oldest first, whole or not."""
        return sorted(path for path in self.directory.glob(PREFIX + "*") if path.is_dir())

    def keep(self, staged: Path, *, step: int) -> None:
        """Seal a staged checkpoint and delete what is older than the newest `keep_last`."""
        final = self.directory / f"{PREFIX}{step:09d}"
        remove(final)  # a torn one of the same step: a whole one would have been resumed from
        seal(staged, final, facts={**self.facts, "step": step})
        for old in self.all()[: -self.keep_last]:
            remove(old)

    def newest(self) -> tuple[Path | None, list[Path]]:
        """The newest whole checkpoint to resume from, and torn ones that were passed over.

        Raises:
            UserError: when the newest whole checkpoint was made by another job.
        """
        torn: list[Path] = []
        for path in reversed(self.all()):
            said = manifest_of(path)
            if said is None:
                torn.append(path)
                continue
            drift = differences(said, self.facts)
            if drift:
                raise UserError(
                    f"{path} was made with other settings: {', '.join(drift)}",
                    next=f"undo the change, or delete {self.directory} to start over",
                )
            return path, torn
        return None, torn


def differences(said: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """The facts in which a checkpoint and a job differ, as `name (then, now)`."""
    found: list[str] = []
    for name, now in wanted.items():
        then = said.get(name)
        if isinstance(now, Mapping) and isinstance(then, Mapping):
            found.extend(differences(then, now))  # pyright: ignore[reportUnknownArgumentType] -- JSON
        elif then != now:
            found.append(f"{name} ({then}, now {now})")
    return found
