"""A ledger that is locked, full, closed or gone says so, and loses nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from factory.errors import LeaseHeld, UserError
from factory.store import CallIntent, CallResult, Ledger


def intent(name: str) -> CallIntent:
    return CallIntent(
        call_id=name, kind="chat", endpoint="e", model="m", request_hash=name, reserve_microusd=7
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_a_writer_waits_for_another_that_holds_the_ledger(file: Path) -> None:
    ledger = Ledger(f"sqlite:///{file}", create=True)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    written = threading.Event()

    def write() -> None:
        ledger.reserve_and_send([intent("1")])
        written.set()

    waiting = threading.Thread(target=write)
    waiting.start()
    assert not written.wait(0.5)
    # Readers never wait.
    assert ledger.calls(["1"]) == {}
    other.execute("rollback")
    waiting.join(60)
    assert ledger.calls(["1"])["1"].state == "sent"
    other.close()
    ledger.close()


@pytest.mark.slow
def test_a_writer_outwaits_a_lock_of_20_seconds(file: Path) -> None:
    ledger = Ledger(f"sqlite:///{file}", create=True)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    release = threading.Timer(20, lambda: other.execute("rollback"))
    release.start()
    assert ledger.reserve_and_send([intent("1")]) == {"1"}
    release.join()
    other.close()
    ledger.close()


def test_a_ledger_that_stays_locked_is_said_in_one_sentence(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.store.database.BUSY_SECONDS", 0.2)
    ledger = Ledger(f"sqlite:///{file}", create=True)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(UserError, match="locked by another process") as caught:
        ledger.reserve_and_send([intent("1")])
    assert "same command" in caught.value.next
    other.execute("rollback")
    assert ledger.reserve_and_send([intent("1")]) == {"1"}
    other.close()
    ledger.close()


FULL = """
import resource, signal, sys
from factory.errors import UserError
from factory.store import CallIntent, CallResult, Ledger
ledger = Ledger(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def intent(i):
    return CallIntent(call_id=str(i), kind="c", endpoint="e", model="m", request_hash="h")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
done = 0
try:
    for i in range(10_000):
        ledger.reserve_and_send([intent(i)])
        ledger.finish([CallResult(call_id=str(i), state="done", outcome="ok", response="x" * 2000)])
        done += 1
except UserError as said:
    print(said)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
found = ledger.calls([str(i) for i in range(done + 1)])
print(done, sum(row.state == "done" for row in found.values()))
ledger.finish([CallResult(call_id=str(done), state="done", outcome="ok", response="x")])
print(ledger.calls([str(done)])[str(done)].state if str(done) in found else "done")
"""


def test_a_full_disk_loses_no_call_that_was_acknowledged(file: Path) -> None:
    Ledger(f"sqlite:///{file}", create=True).close()
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"sqlite:///{file}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, counts, last = done.stdout.splitlines()
    assert "no room left" in said
    acknowledged, kept = map(int, counts.split())
    assert acknowledged == kept > 0
    assert last == "done"


CLOSED = """
import os, sys
from factory.errors import UserError
from factory.store import CallIntent, Ledger
Ledger(sys.argv[1]).close()
if os.geteuid() == 0:
    os.setuid(65534)
try:
    ledger = Ledger(sys.argv[1])
    intent = CallIntent(call_id="1", kind="c", endpoint="e", model="m", request_hash="h")
    ledger.reserve_and_send([intent])
except UserError as said:
    print(said)
"""


def test_a_ledger_that_cannot_be_written_says_so(file: Path) -> None:
    Ledger(f"sqlite:///{file}", create=True).close()
    for folder in file.parents:
        if folder.stat().st_uid == os.geteuid() and str(folder).count("/") > 1:
            folder.chmod(folder.stat().st_mode | 0o055)
    file.chmod(0o444)
    file.parent.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, f"sqlite:///{file}"], capture_output=True, text=True
    )
    file.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "ledger" in done.stdout
    assert "cannot be" in done.stdout


def test_of_two_runs_of_one_recipe_the_second_says_who_has_it(file: Path) -> None:
    first, second = (Ledger(f"sqlite:///{file}", create=True) for _ in range(2))
    with (
        first.lease("run:abc"),
        pytest.raises(LeaseHeld, match=f"run:abc is held by {first.owner}"),
        second.lease("run:abc"),
    ):
        pass
    with second.lease("run:abc"):
        pass
    first.close()
    second.close()


def test_a_server_that_is_gone_is_said_in_one_sentence() -> None:
    with pytest.raises(UserError, match="cannot be reached") as caught:
        Ledger("postgresql://factory:secret@127.0.0.1:9/none")
    assert "secret" not in str(caught.value)


def test_a_clock_that_goes_back_changes_no_answer(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    ledger = Ledger(f"sqlite:///{file}", create=True)
    real = time.time
    ledger.reserve_and_send([intent("1")])
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    ledger.finish([CallResult(call_id="1", state="done", outcome="ok", response="late")])
    assert ledger.calls(["1"])["1"].response == "late"
    ledger.move_pointer("p", "a", expect=None, reason="")
    monkeypatch.setattr(time, "time", lambda: real() - 2 * 86_400)
    ledger.move_pointer("p", "b", expect="a", reason="")
    assert [m["new"] for m in ledger.pointer_history("p")] == ["a", "b"]
    ledger.close()
