"""Devices are leased by name: nobody shares a GPU by accident, nobody waits for the dead."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from factory.errors import LeaseHeld, UserError
from factory.store import Ledger, devices

LISTING = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
GPU 2: NVIDIA H200 (UUID: GPU-cccc)
"""
CUT_UP = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
  MIG 3g.71gb     Device  0: (UUID: MIG-1111)
  MIG 3g.71gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
"""


def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """A program of that name which prints what the real one prints."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{says}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, LISTING)


def seen(groups: list[devices.Group]) -> list[str]:
    assert all(g.env.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID") == "PCI_BUS_ID" for g in groups)
    return [group.env.get("CUDA_VISIBLE_DEVICES", "") for group in groups]


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        (None, ["0", "1", "2"]),
        ("2,0", ["2", "0"]),
        ("GPU-b", ["1"]),
        ("0,-1,1", ["0"]),
        ("", []),
    ],
)
def test_only_the_gpus_that_this_process_may_see_are_taken(
    three: None, monkeypatch: pytest.MonkeyPatch, allowed: str | None, found: list[str]
) -> None:
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert [device.visible for device in devices.gpus()] == found


def test_a_gpu_that_is_cut_up_is_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, CUT_UP)
    assert [d.visible for d in devices.gpus()] == ["MIG-1111", "MIG-2222", "1"]


def test_two_that_ask_at_once_share_no_gpu(three: None, ledger: Ledger) -> None:
    other = Ledger(ledger.url)
    with devices.hold(ledger, groups=2) as mine, devices.hold(other, groups=None) as theirs:
        assert seen(mine) == ["0", "1"]
        assert seen(theirs) == ["2"]
        held = {row["name"] for row in ledger.table("leases")}
        host = socket.gethostname()
        assert held == {f"device:{host}/GPU-{x * 4}" for x in "abc"}
        with (
            pytest.raises(LeaseHeld, match=r"GPU-[abc]{4} is held by"),
            devices.hold(other, wait_s=0),
        ):
            pass
    assert ledger.table("leases") == []
    other.close()


def test_a_group_has_all_of_its_gpus_or_none_and_gives_back_the_rest(
    three: None, ledger: Ledger
) -> None:
    other = Ledger(ledger.url)
    with devices.hold(ledger, groups=None, size=2) as mine:
        assert seen(mine) == ["0,1"]
        with pytest.raises(LeaseHeld), devices.hold(other, size=2, wait_s=0):
            pass
        # The third GPU is held by neither: it was no whole group.
        with devices.hold(other, wait_s=0) as third:
            assert seen(third) == ["2"]
    other.close()


def test_more_gpus_together_than_there_are_is_refused(three: None, ledger: Ledger) -> None:
    with pytest.raises(UserError, match="4 GPUs are asked for together and this process sees 3"):
        devices.hold(ledger, size=4).__enter__()


def test_without_gpus_there_are_slots_and_no_variable_is_set(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with devices.hold(ledger, groups=2) as two, devices.hold(ledger, groups=3) as three:
        assert len(two) == 2 and len(three) >= 1
        assert seen(two) == ["", ""]
        names = [d.name for group in [*two, *three] for d in group.devices]
        assert len(set(names)) == len(names)
    with devices.hold(ledger) as one:
        assert len(one) == 1


def test_whoever_waits_is_told_who_has_it_and_gets_it_next(three: None, ledger: Ledger) -> None:
    other = Ledger(ledger.url)
    told: list[str] = []
    waiting, got = threading.Event(), threading.Event()

    def note(text: str) -> None:
        told.append(text)
        waiting.set()

    def wait() -> None:
        with devices.hold(other, size=3, note=note):
            got.set()

    with devices.hold(ledger):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(60)
        assert not got.is_set()
    assert got.wait(60)
    thread.join()
    other.close()
    assert "waiting for 3 free device(s)" in told[0] and ledger.owner in told[0]


HOLDER = """
import sys
from factory.store import Ledger, devices
with devices.hold(Ledger(sys.argv[1]), groups=None) as held:
    print(len(held), flush=True)
    sys.stdin.read()
"""


def test_the_gpus_of_a_killed_process_are_free_at_once(three: None, ledger: Ledger) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, ledger.engine.url.render_as_string(hide_password=False)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    assert process.stdout.readline() == "3\n"
    with pytest.raises(LeaseHeld), devices.hold(ledger, wait_s=0):
        pass
    process.kill()
    process.wait()
    with devices.hold(ledger, groups=None, wait_s=0) as held:
        assert len(held) == 3
    process.stdin.close()
    process.stdout.close()
