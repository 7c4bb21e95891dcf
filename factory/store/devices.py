"""Devices: the GPUs of this machine, or slots where it has none, each leased by its name.

Sampling, a judge of our own and training ask here before they start a process, so that two of them
never share a GPU by accident. A lease is in the ledger, with a heartbeat: the lease of a process
that was killed is free at once. What does not ask (another program, another workspace with another
ledger) is not seen.

Waiting cannot lock up: whoever does not get all that it needs gives back what it took, and a holder
of this process that has nothing to do gives way.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from factory.errors import LeaseHeld, UserError
from factory.store.leases import Lease, Leases

WAIT_S = 12 * 3600.0
_PAUSE_S = 1.0
_LISTED = re.compile(r"^\s*(?:GPU (\d+)|MIG .*?Device\s+\d+):.*\(UUID: ([A-Za-z0-9/-]+)\)")

log_ = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU (or a part of one, under MIG), or a slot of a machine without GPUs."""

    name: str
    """Of its lease: `device:HOST/UUID` or `device:HOST/slot-0`."""
    visible: str = ""
    """What CUDA_VISIBLE_DEVICES calls it: a number, which every library can read, or the UUID of a
    part, which has no number. Empty for a slot."""


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that one process uses together, and the leases they are held under."""

    devices: tuple[Device, ...]
    leases: tuple[Lease, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """What the process is told: the GPUs that it may see."""
        visible = [device.visible for device in self.devices if device.visible]
        if not visible:
            return {}
        # nvidia-smi counts by bus; CUDA alone would count the fastest GPU first.
        return {"CUDA_VISIBLE_DEVICES": ",".join(visible), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    @property
    def names(self) -> str:
        """For people."""
        return ", ".join(device.name.removeprefix("device:") for device in self.devices)

    def check(self) -> None:
        """Raises `LeaseHeld` when somebody took a device over."""
        for lease in self.leases:
            lease.check()


def gpus() -> list[Device]:
    """The GPUs that this process may use: those of the machine, or of CUDA_VISIBLE_DEVICES."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = _listed() if shutil.which("nvidia-smi") else _in_dev()
    if allowed is not None:
        wanted = [word.strip() for word in allowed.split(",")]
        # CUDA stops at the first word that names no device.
        known = [_named(word, found) for word in wanted if word]
        found = known[: known.index(None)] if None in known else known
    host = socket.gethostname()
    return [Device(f"device:{host}/{uuid}", number) for number, uuid in (f for f in found if f)]


@contextmanager
def hold(
    ledger: Leases,
    *,
    groups: int | None = 1,
    size: int = 1,
    wait_s: float = WAIT_S,
    note: Callable[[str], None] | None = None,
) -> Iterator[list[Group]]:
    """Lease devices while the block runs: as many groups as are free, at least one.

    Args:
        ledger: whose leases they are.
        groups: the most to take; None is all there are (one, on a machine without GPUs).
        size: devices a group.
        wait_s: how long to wait for a first group.
        note: told, once, who has the devices that are waited for.

    Raises:
        UserError: when the machine has fewer than `size` devices.
        LeaseHeld: when nothing became free in time.
    """
    devices = gpus()
    if not devices:
        count = max(os.cpu_count() or 1, (groups or 1) * size)
        host = socket.gethostname()
        devices = [Device(f"device:{host}/slot-{i}") for i in range(count)]
        groups = groups or 1
    if size > len(devices):
        raise UserError(
            f"{size} GPUs are asked for together and this process sees {len(devices)}",
            next="lower tensor_parallel_size in sampling.settings, or widen CUDA_VISIBLE_DEVICES",
        )
    most = min(groups or len(devices), len(devices) // size)
    until = time.monotonic() + wait_s
    told = False
    while True:
        with ExitStack() as stack:
            found, busy = _take(ledger, devices, most=most, size=size, stack=stack)
            if found:
                yield found
                return
        if ledger.relieve():  # engines that waited for their next shards
            continue
        if time.monotonic() >= until:
            raise busy or LeaseHeld("no device became free", next="prefactory status")
        if not told:
            told = True
            (note or log_.warning)(f"waiting for {size} free device(s): {busy}")
        time.sleep(_PAUSE_S)


def _take(
    ledger: Leases, devices: Sequence[Device], *, most: int, size: int, stack: ExitStack
) -> tuple[list[Group], LeaseHeld | None]:
    """One attempt: whole groups of what is free now, and who has something that is not."""
    held: list[tuple[Device, Lease, ExitStack]] = []
    busy: LeaseHeld | None = None
    for device in devices:
        if len(held) == most * size:
            break
        own = stack.enter_context(ExitStack())
        try:
            held.append((device, own.enter_context(ledger.lease(device.name)), own))
        except LeaseHeld as taken:
            busy = taken
    whole = len(held) // size
    for _, _, own in held[whole * size :]:
        own.close()
    parts = [held[i * size : (i + 1) * size] for i in range(whole)]
    return [Group(tuple(d for d, _, _ in p), tuple(x for _, x, _ in p)) for p in parts], busy


def _listed() -> list[tuple[str, str]]:
    """Number and UUID of each GPU, or twice the UUID of its MIG parts where it is cut up."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as failed:
        log_.warning("nvidia-smi does not answer (%s): GPUs are known by number only", failed)
        return _in_dev()
    found: list[tuple[str, str]] = []
    for line in said.splitlines():
        match = _LISTED.match(line)
        if match and match[1] is not None:
            found.append((match[1], match[2]))
        elif match:
            # A GPU that is cut up cannot be used whole; its first part takes its place.
            if found and found[-1][1].startswith("GPU-"):
                found.pop()
            found.append((match[2], match[2]))
    return found


def _in_dev() -> list[tuple[str, str]]:
    numbers = sorted(int(p.name[6:]) for p in Path("/dev").glob("nvidia[0-9]*"))
    return [(str(n), str(n)) for n in numbers]


def _named(word: str, found: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The device of a number or of the beginning of a UUID."""
    for index, uuid in found:
        if word == index or (not word.isdigit() and uuid.startswith(word)):
            return index, uuid
    return None
