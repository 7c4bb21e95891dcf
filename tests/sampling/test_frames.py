"""What crosses the pipe arrives as it was, or not at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.sampling.base import Sampled, SampleRequest
from factory.sampling.frames import (
    read_frame,
    requests_of,
    requests_table,
    samples_of,
    samples_table,
    write_frame,
)

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=5)
FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=5)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)  # no timing in tests
@given(
    st.lists(
        st.builds(SampleRequest, TEXT, IDS, st.integers(0, 9), st.integers(1, 9), st.integers(0, 9))
    )
)
def test_requests_arrive_as_they_were_sent(requests: list[SampleRequest]) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, {"a": 1}, requests_table(requests))
    pipe.seek(0)
    header, table = read_frame(pipe)
    assert header == {"a": 1}
    assert table is not None
    assert requests_of(table) == requests


@settings(deadline=None)  # no timing in tests
@given(
    st.lists(
        st.builds(Sampled, TEXT, st.integers(0, 9), IDS, st.none() | FLOATS, st.just("stop"), TEXT)
    )
)
def test_samples_arrive_as_they_were_sent(samples: list[Sampled]) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, {}, samples_table(samples))
    pipe.seek(0)
    table = read_frame(pipe)[1]
    assert table is not None
    assert samples_of(table) == samples


@settings(deadline=None)  # no timing in tests
@given(cut=st.integers(0, 400))
def test_a_frame_that_was_cut_off_is_never_read_as_a_shorter_one(cut: int) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, {"n": 1}, samples_table([Sampled("p", 0, [1], None, "stop", "x")]))
    whole = pipe.getvalue()
    assert len(whole) > 400
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(whole[:cut]))
