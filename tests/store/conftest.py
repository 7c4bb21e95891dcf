"""Workspaces and ledgers for these tests: SQLite, and a PostgreSQL server that really runs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factory.store import Ledger, Store, open_store


def _programs() -> Path:
    there = shutil.which("initdb")
    if there:
        return Path(there).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent


def _account() -> str | None:
    """PostgreSQL refuses to run as root: another account of this machine does it then."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(command: list[str], account: str | None) -> None:
    done = subprocess.run(
        command, user=account, cwd="/", capture_output=True, text=True, env={"LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of this session, without a database's name."""
    programs, account = _programs(), _account()
    # Not under pytest's own folder, which other accounts may not enter.
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    if account:
        shutil.chown(home, user=account)
    data = home / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    init = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "factory",
        "-A",
        "trust",
        "-N",
        "-E",
        "UTF8",
    ]
    _run(init, account)
    options = (
        f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c max_connections=60 -c fsync=off"
    )
    pg_ctl = [str(programs / "pg_ctl"), "-D", str(data), "-w"]
    _run([*pg_ctl, "-l", str(home / "log"), "-o", options, "start"], account)
    try:
        yield f"postgresql://factory@127.0.0.1:{port}"
    finally:
        _run([*pg_ctl, "-m", "immediate", "stop"], account)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def new_postgres(postgres_server: str) -> Callable[[], str]:
    """Makes an empty database and gives its URL."""
    import psycopg

    def make() -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as con:
            con.execute(f"create database {name}")  # type: ignore[arg-type]  # our own name
        return f"{postgres_server}/{name}"

    return make


DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=DATABASES)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new ledger's URL, once in each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    return request.getfixturevalue("new_postgres")()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger, once in each database."""
    made = Ledger(ledger_url, create=True)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new workspace: SQLite and a directory."""
    made = open_store(tmp_path / "workspace", create=True)
    yield made
    made.close()
