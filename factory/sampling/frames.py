"""Frames between a sampler and its engine's process: a JSON header and Arrow bytes, never pickle.

The engine's process reads what a model wrote; nothing it sends back can run code here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from factory.sampling.requests import Sampled, SampleRequest

_SIZES = struct.Struct(">IQ")
_I32S, _F32S = pa.list_(pa.int32()), pa.list_(pa.float32())

REQUESTS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("prompt_token_ids", _I32S),
        ("first_idx", pa.int32()),
        ("n", pa.int32()),
        ("seed", pa.int64()),
    ]
)
SAMPLES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_idx", pa.int32()),
        ("token_ids", _I32S),
        ("logprobs", _F32S),
        ("finish_reason", pa.string()),
        ("text", pa.string()),
    ]
)


def write_frame(
    pipe: BinaryIO, header: Mapping[str, object], table: pa.Table | None = None
) -> None:
    """One frame: sizes, JSON header, Arrow IPC stream (empty without a table)."""
    head = json.dumps(header).encode()
    body = memoryview(b"")
    if table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        body = memoryview(sink.getvalue())
    pipe.write(_SIZES.pack(len(head), len(body)) + head)
    pipe.write(body)
    pipe.flush()


def read_frame(pipe: BinaryIO) -> tuple[dict[str, Any], pa.Table | None]:
    """The next frame.

    Raises:
        EOFError: when the other side is gone, also in the middle of a frame.
    """
    head_size, body_size = _SIZES.unpack(_exactly(pipe, _SIZES.size))
    header: dict[str, Any] = json.loads(_exactly(pipe, head_size))
    if body_size == 0:
        return header, None
    with pa.ipc.open_stream(pa.py_buffer(_exactly(pipe, body_size))) as reader:
        return header, reader.read_all()


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError("the other side of the pipe is gone")
    return data


def requests_table(requests: Sequence[SampleRequest]) -> pa.Table:
    """Requests as a table."""
    return _table(requests, REQUESTS)


def samples_table(samples: Sequence[Sampled]) -> pa.Table:
    """Samples as a table; log-probabilities are float32, as the engines compute them."""
    return _table(samples, SAMPLES)


def _table(items: Sequence[object], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([getattr(i, f.name) for i in items], type=f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def requests_of(table: pa.Table) -> list[SampleRequest]:
    """A table of requests as objects."""
    return [SampleRequest(*row) for row in _rows(table)]


def samples_of(table: pa.Table) -> list[Sampled]:
    """A table of samples as objects."""
    return [Sampled(*row) for row in _rows(table)]


def _rows(table: pa.Table) -> Any:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
