"""Leases: one owner at a time, whatever clocks and processes do."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from factory.errors import LeaseHeld
from factory.store import Ledger
from factory.store.database import owner_is_dead

ELSEWHERE = "another-host/123/1.00"


def test_a_lease_has_one_owner_at_a_time(ledger: Ledger) -> None:
    other = Ledger(ledger.url)
    with ledger.lease("x"):
        with pytest.raises(LeaseHeld, match=r"x is held by .* since .* UTC"):
            other.take_lease("x")
        # Two threads of one process are two owners as well.
        with pytest.raises(LeaseHeld):
            ledger.take_lease("x")
    other.take_lease("x")
    other.give_lease("x")
    other.close()


def test_whoever_waits_gets_it_when_it_is_given_back(ledger: Ledger) -> None:
    other = Ledger(ledger.url)
    entered = threading.Event()

    def wait() -> None:
        with other.lease("x", wait_s=60):
            entered.set()

    with ledger.lease("x"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(0.1)
    waiting.join(60)
    assert entered.is_set()
    other.close()


def test_of_many_who_want_it_at_once_each_has_it_alone(ledger: Ledger) -> None:
    ledgers = [Ledger(ledger.url) for _ in range(4)]
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            with ledgers[number].lease("x", wait_s=120):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == [1] * 20
    for each in ledgers:
        each.close()


def test_the_lease_of_a_killed_process_is_free_at_once(ledger: Ledger) -> None:
    code = (
        "import sys, time; from factory.store import Ledger\n"
        "Ledger(sys.argv[1]).take_lease('x', ttl_s=3600); print('taken', flush=True)\n"
        "time.sleep(3600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, ledger.url], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    with pytest.raises(LeaseHeld):
        ledger.take_lease("x")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    ledger.take_lease("x")
    ledger.give_lease("x")


def test_a_clock_that_jumps_takes_no_lease_from_a_live_owner_of_this_host(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Ledger(ledger.url)
    real = time.time
    with ledger.lease("x", ttl_s=10):
        for jump in (+7 * 86400, -7 * 86400):
            with monkeypatch.context() as clock:
                clock.setattr(time, "time", lambda jump=jump: real() + jump)
                with pytest.raises(LeaseHeld):
                    other.take_lease("x", ttl_s=10)
    other.close()


def test_a_live_owner_elsewhere_keeps_its_lease_though_our_clock_jumped(ledger: Ledger) -> None:
    far = Ledger(ledger.url, owner=ELSEWHERE)
    with far.lease("x", ttl_s=0.4):
        with ledger.transaction() as con:  # as if our clock were an hour ahead of its own
            con.execute(text("update leases set expires_at = expires_at - 3600"))
        with pytest.raises(LeaseHeld):
            ledger.take_lease("x", ttl_s=0.4, wait_s=1.0)
    far.close()


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_silent_owner_elsewhere_loses_it_whatever_its_clock_said(
    ledger: Ledger, ahead: float
) -> None:
    far = Ledger(ledger.url, owner=ELSEWHERE)
    far.take_lease("x", ttl_s=0.2)
    with ledger.transaction() as con:
        con.execute(text(f"update leases set expires_at = expires_at + {ahead}"))
    ledger.take_lease("x", ttl_s=0.2, wait_s=30)
    with ledger.reading() as con:
        owner = con.execute(text("select owner from leases where name = 'x'")).scalar()
    assert owner and not str(owner).startswith(ELSEWHERE)
    ledger.give_lease("x")
    far.close()


def test_an_owner_learns_that_its_lease_was_taken_over(ledger: Ledger) -> None:
    with ledger.lease("x", ttl_s=0.2) as held:
        held.check()
        with ledger.transaction() as con:
            con.execute(text("update leases set owner = 'another/1/1.00/abc'"))
        assert held.lost.wait(30)
        with pytest.raises(LeaseHeld, match="taken over"):
            held.check()
    # And gives back nothing that is another's.
    assert [row["owner"] for row in ledger.table("leases")] == ["another/1/1.00/abc"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_a_clock_that_is_set_makes_no_live_owner_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a process began, as a time of day, moves with the clock while the process lives."""
    began = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) + 3)
    child = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert not owner_is_dead(owner) and not owner_is_dead(f"{owner}/a-lease-of-it")
    host, pid, _ = owner.split("/")
    assert owner_is_dead(f"{host}/{pid}/1")  # another process had that number before
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert owner_is_dead(owner)  # nobody has reaped it, as in a container without an init
    child.wait()
    child.stdout.close()
    assert owner_is_dead(owner)


OWNER = """
import time
from factory.store.database import process_owner
print(process_owner(), flush=True)
time.sleep(600)
"""
