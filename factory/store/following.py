"""The newest version of a table, followed entry by entry, and the next entry put into its log.

delta-rs keeps a third of a megabyte for each entry that it reads or writes, also after its handle
is dropped, and a night commits thousands. So it opens a table once in a process; what is committed
after that, by whomever, is read here from the log (github.com/delta-io/delta, PROTOCOL.md).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from factory.store import log
from factory.store.log import Action, LiveFile
from factory.store.places import Place, blaming


@dataclass(slots=True)
class Newest:
    """What a table holds at its newest version, as far as this process has read."""

    table: str
    version: int
    live: dict[str, LiveFile]
    columns: frozenset[str]
    held_before: Callable[[str], bool]
    """Whether a shard was committed up to the version that was opened."""
    _since: set[str] = field(default_factory=set[str])

    def holds(self, shard: str) -> bool:
        """Whether a shard was committed."""
        return shard in self._since or self.held_before(shard)

    def files(self) -> list[LiveFile]:
        """The data files, by name."""
        return sorted(self.live.values())

    def follow(self, place: Place) -> bool:
        """Read what was committed since. False when the table has to be opened anew.

        Raises:
            StoreError: when an entry is torn, or asks for more than this program knows.
        """
        # An entry that was set aside as torn would leave us ahead of the table.
        if not place.exists(log.entry_name(self.table, self.version)):
            return False
        while place.exists(log.entry_name(self.table, self.version + 1)):
            entry = log.actions(place, self.table, self.version + 1)
            if any("metaData" in action or "protocol" in action for action in entry):
                return False
            self.take(entry)
        return True

    def take(self, entry: Iterable[Action]) -> None:
        """Go on by one entry."""
        for action in entry:
            if (added := action.get("add")) is not None:
                name, rows = unquote(added["path"]), json.loads(added.get("stats") or "{}")
                file = LiveFile(name, int(rows.get("numRecords") or 0), int(added["size"]))
                self.live[name] = file
            elif (removed := action.get("remove")) is not None:
                self.live.pop(unquote(removed["path"]), None)
            elif (shard := action.get("txn")) is not None:
                self._since.add(shard["appId"])
        self.version += 1


def entry_of(
    added: Iterable[LiveFile], removed: Iterable[LiveFile], *, shard: str | None, new_rows: bool
) -> list[Action]:
    """The log entry of one commit.

    Args:
        added: files that appear.
        removed: files that are no longer live.
        shard: the name under which the commit is made once, or None.
        new_rows: whether rows were added; not so where files were only put together.
    """
    now = int(time.time() * 1000)
    entry: list[Action] = [
        {
            "commitInfo": {
                "timestamp": now,
                "operation": "WRITE",
                "operationParameters": {"mode": "Append", "partitionBy": "[]"},
                "engineInfo": "prefactory",
            }
        }
    ]
    if shard is not None:
        entry.append({"txn": {"appId": shard, "version": 1, "lastUpdated": now}})
    for f in removed:
        entry.append(
            {
                "remove": {
                    "path": quote(f.name),
                    "dataChange": new_rows,
                    "deletionTimestamp": now,
                    "extendedFileMetadata": True,
                    "partitionValues": {},
                    "size": f.size,
                }
            }
        )
    for f in added:
        entry.append(
            {
                "add": {
                    "path": quote(f.name),
                    "partitionValues": {},
                    "size": f.size,
                    "modificationTime": now,
                    "dataChange": new_rows,
                    "stats": json.dumps({"numRecords": f.rows}),
                }
            }
        )
    return entry


def put_entry(place: Place, table: str, version: int, entry: Iterable[Action]) -> bool:
    """Make a version of a table in a directory; False when somebody made it before.

    The bytes are on the disk before the entry has its name, and a name is never taken twice: a hard
    link is refused where the name exists. Call it under the table's lock.

    Raises:
        UserError: when there is no room or no permission; nothing was committed then.
    """
    target = place.path / log.entry_name(table, version)
    # The lock makes us the only one with this name; what a killed process left is written over.
    aside = place.path / "_locks" / f"{table}.entry"
    content = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in entry)
    with blaming(str(target)):
        with aside.open("wb") as handle:
            handle.write(content.encode())
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(aside, target)
        except FileExistsError:
            return False
        finally:
            aside.unlink()
    place.sync(str(Path(log.entry_name(table, version)).parent))
    return True
