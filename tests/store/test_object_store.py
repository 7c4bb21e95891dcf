"""The lake in an object store: the same promises, against a real S3 server on loopback."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.store import Store, integrity, open_store, upkeep

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3

    for name, value in {**KEYS, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    name = f"b{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture
def remote(bucket: str, tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "ws", lake_url=f"s3://{bucket}/my/lake", create=True)
    yield made
    made.close()


def rows(*names: str) -> list[dict[str, object]]:
    return [{"prompt_id": n, "pool": "p", "messages": "[]", "bucket": 1} for n in names]


def test_every_table_is_there_and_empty(remote: Store) -> None:
    assert remote.rows("select count(*) n from completions") == [{"n": 0}]
    assert not (remote.workspace / "lake").exists()


def test_rows_are_added_once_and_read_by_sql(remote: Store) -> None:
    assert remote.append("prompts", rows("a", "b"), run_id="r") == 2
    assert remote.append("prompts", rows("b", "c"), run_id="r") == 1
    assert remote.append("prompts", rows("b", "c"), run_id="r") == 0
    found = remote.query("select prompt_id, run_id from prompts order by 1")
    assert found.to_pylist() == [{"prompt_id": n, "run_id": "r"} for n in "abc"]
    assert remote.missing("prompts", ["z", "a"]) == ["z"]


def test_another_machine_sees_them_through_two_urls(remote: Store, tmp_path: Path) -> None:
    remote.append("prompts", rows("a"), run_id="r")
    other = open_store(
        tmp_path / "other", ledger_url=remote.ledger.url, lake_url=remote.lake.place.url
    )
    assert other.append("prompts", rows("a", "b"), run_id="r") == 1
    assert remote.rows("select count(*) n from prompts") == [{"n": 2}]
    other.close()


def test_compaction_clean_up_and_the_past_work_there(remote: Store) -> None:
    for name in "abcd":
        remote.append("prompts", rows(name), run_id="r")
    (done,) = upkeep.compact(remote, tables=["prompts"])
    assert (done.files_before, done.files_after) == (4, 1)
    past = {"prompts": 2}
    with remote.connect(mentioned_in="prompts", versions=past) as con:
        assert con.sql("select count(*) from prompts").fetchall() == [(2,)]
    upkeep._collect(remote, dry_run=False, retention_h=0, orphan_h=24)
    assert len(remote.lake.place.names("prompts")) == 1
    assert remote.rows("select count(*) n from prompts") == [{"n": 4}]
    assert remote.append("prompts", rows("a", "e"), run_id="r") == 1
    assert [f.state for f in integrity.check_files(remote)] == ["ok"]


WRITER = """
import sys
from pathlib import Path
from factory.store import open_store
workspace, ledger, lake, which = sys.argv[1:]
store = open_store(Path(workspace), ledger_url=ledger, lake_url=lake)
for n in range(8):
    shard = (n + int(which) * 3) % 8
    rows = [{"prompt_id": f"{shard}-{i}", "bucket": i} for i in range(10)]
    store.append("prompts", rows, run_id="r", shard=f"s{shard}")
"""


def test_racing_machines_write_each_row_once(remote: Store) -> None:
    arguments = [str(remote.workspace), remote.ledger.url, remote.lake.place.url]
    racers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), *arguments, str(which)])
        for which in range(2)
    ]
    assert [racer.wait(timeout=300) for racer in racers] == [0, 0]
    (found,) = remote.rows("select count(*) n, count(distinct prompt_id) d from prompts")
    assert found == {"n": 80, "d": 80}
