"""Every format gives the same rows, and a damaged row stops no other."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.prompting.formats import BadRow, Row
from factory.prompting.reading import batches, open_items

ROWS = [{"prompt": f"say {n}", "id": f"p{n}"} for n in range(5)]


def _written(path: Path) -> Path:
    text = "".join(json.dumps(r) + "\n" for r in ROWS)
    name = path.name
    if name.endswith(".jsonl"):
        path.write_text(text)
    elif name.endswith(".jsonl.gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".json"):
        path.write_text(json.dumps(ROWS, indent=2))
    elif name.endswith(".csv"):
        with path.open("w", newline="", encoding="utf-8-sig") as handle:
            writer = csv.DictWriter(handle, ["prompt", "id"])
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.parquet"])
def test_each_format_gives_the_same_rows_numbered_from_one(tmp_path: Path, name: str) -> None:
    items = list(open_items(_written(tmp_path / name)))
    assert [(i.values, i.number) for i in items if isinstance(i, Row)] == [
        (row, n) for n, row in enumerate(ROWS, start=1)
    ]


def test_a_saved_dataset_is_read_and_several_splits_ask_for_one(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    data = Dataset.from_list(ROWS)
    data.save_to_disk(str(tmp_path / "one"))
    DatasetDict(train=data, test=data).save_to_disk(str(tmp_path / "two"))
    assert [i.values for i in open_items(tmp_path / "one") if isinstance(i, Row)] == ROWS
    assert len(list(open_items(tmp_path / "two", split="test"))) == 5
    with pytest.raises(UserError, match="train, test") as raised:
        open_items(tmp_path / "two")
    assert raised.value.next == "--split train"


def test_a_directory_of_files_is_one_source(tmp_path: Path) -> None:
    _written(tmp_path / "a.jsonl")
    _written(tmp_path / "b.parquet")
    assert len(list(open_items(tmp_path))) == 10


def test_batches_come_in_order_and_a_limit_ends_them(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.jsonl")
    assert [len(b.rows) for b in batches(path, size=2)] == [2, 2, 1]
    assert [len(b.rows) for b in batches(path, size=2, limit=3)] == [2, 1]


def test_damaged_lines_have_a_reason_and_their_place_and_the_rest_goes_on(
    jsonl: Callable[..., Path],
) -> None:
    path = jsonl([{"prompt": "a"}, b"{oops", b'{"prompt": "\xff\xfe"}', b"[1]", {"prompt": "b"}])
    items = list(open_items(path))
    bad = [(i.reason, i.number) for i in items if isinstance(i, BadRow)]
    assert bad == [("malformed_json", 2), ("invalid_utf8", 3), ("not_an_object", 4)]
    assert [i.number for i in items if isinstance(i, Row)] == [1, 5]
    assert next(i for i in items if isinstance(i, BadRow)).evidence == "{oops"


def test_a_cut_gzip_file_gives_the_rows_before_the_cut(tmp_path: Path) -> None:
    text = "".join(json.dumps({"prompt": f"{n} " * 50}) + "\n" for n in range(5000))
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode())[:-2000])
    items = list(open_items(path))
    assert sum(isinstance(i, Row) for i in items) > 100
    assert isinstance(items[-1], BadRow)
    assert items[-1].reason in {"damaged_file", "malformed_json"}


def test_a_csv_row_of_other_bytes_or_width_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"prompt,id\nok,1\n\xff,2\ntoo,many,3\nlast,4\n")
    items = list(open_items(path))
    assert [i.reason if isinstance(i, BadRow) else i.values["id"] for i in items] == [
        "1", "invalid_utf8", "wrong_field_count", "4",
    ]  # fmt: skip


def test_quotes_in_a_csv_cell_are_never_taken_out_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('id\tprompt\n1\t"Hello" he said\n2\tsay "hi"\n3\t"both ""ends"""\n')
    items = list(open_items(path))
    assert [i.reason if isinstance(i, BadRow) else i.values["prompt"] for i in items] == [
        "malformed_csv", 'say "hi"', 'both "ends"',
    ]  # fmt: skip


def test_a_quote_that_is_never_closed_makes_no_prompt_of_the_rows_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,prompt\n1,first\n2,"open\n3,third\n4,fourth\n')
    items = list(open_items(path))
    assert [i.reason if isinstance(i, BadRow) else i.values["id"] for i in items] == [
        "1", "malformed_csv",
    ]  # fmt: skip


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,prompt,prompt,,\n1,one,two,,\n")
    with pytest.raises(UserError, match="two columns are called 'prompt'"):
        list(open_items(path))


def test_an_array_that_ends_between_two_elements_is_said_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"prompt": "a"},\n')
    row, bad = open_items(path)
    assert isinstance(row, Row)
    assert isinstance(bad, BadRow)
    assert bad.reason == "damaged_file"


def test_a_broken_json_array_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"prompt": "a"}, {"prompt": "b"}, {"prom')
    items = list(open_items(path))
    assert [type(i) for i in items] == [Row, Row, BadRow]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"", "no reader"),
        ("a.parquet", b"no", "not a Parquet file"),
        ("a.jsonl.gz", b"{}", "not gzip"),
    ],
)
def test_a_file_nothing_reads_is_the_users_to_mend(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as raised:
        list(open_items(path))
    assert raised.value.next


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    _written(tmp_path / "prompts.jsonl")
    with pytest.raises(UserError, match=r"did you mean 'prompts\.jsonl'"):
        open_items(tmp_path / "promts.jsonl")


def test_a_hub_name_is_refused_offline_with_the_next_command() -> None:
    with pytest.raises(UserError, match="HF_HUB_OFFLINE") as raised:
        open_items("hf:nobody/nothing")
    assert "nobody/nothing" in raised.value.next


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=40), min_size=1), max_size=8))
def test_a_json_array_read_in_pieces_is_the_array(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=1))
    assert [i.values for i in open_items(path) if isinstance(i, Row)] == rows
