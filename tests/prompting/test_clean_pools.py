"""A pool is kept clean as it is added: what is left out is a drop with its evidence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from factory.errors import UserError
from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
from factory.prompting.cleaning.language import language_of
from factory.prompting.draw import draw_prompts
from factory.prompting.generators import make_pool
from factory.prompting.ingest import AddReport, add_prompts
from factory.prompting.mapping import resolve
from factory.prompting.toyworld import make_tasks
from factory.store import Store

Jsonl = Callable[..., Path]

ITEMS = [
    "Nine children share 45 marbles equally; how many marbles does each of the children get?",
    "Name the three longest rivers of South America in the order of their length, please.",
    "Explain in two sentences why the sky looks blue at noon and red in the evening.",
]
OTHERS = [
    "Write a poem about a lighthouse that has not been lit for a hundred years.",
    "Plan a week of dinners for a family of four who eat neither meat nor fish.",
]


def _add(store: Store, path: Path, pool: str = "p", **clean: object) -> AddReport:
    settings = CleanSettings(**clean)  # type: ignore[arg-type]
    cleaner = open_cleaner(store, settings, pool=pool)
    return add_prompts(store, path, pool=pool, run_id="r", cleaner=cleaner)


def _drops(store: Store, reason: str) -> list[dict[str, object]]:
    rows = store.rows("select detail from drops where reason = $reason", {"reason": reason})
    return sorted((json.loads(row["detail"]) for row in rows), key=lambda d: d["row"])


def test_what_is_in_a_benchmark_is_dropped_with_item_score_and_span(
    store: Store, jsonl: Jsonl
) -> None:
    bench = jsonl(
        [{"id": f"b{n}", "question": item} for n, item in enumerate(ITEMS)], "bench.jsonl"
    )
    wrapped = f"Solve this for me:\n{ITEMS[0]}\nThanks!"
    path = jsonl([{"prompt": t} for t in (OTHERS[0], ITEMS[1].upper(), wrapped, OTHERS[1])])
    report = _add(store, path, against=(str(bench),))
    assert (report.added, dict(report.dropped)) == (2, {"contaminated": 2})
    first, second = _drops(store, "contaminated")
    kept = ("pool", "source", "source_id", "benchmark", "item", "kind", "score")
    assert [first[k] for k in kept] == ["p", "rows", "row 2", "bench", "b1", "exact", 1.0]
    assert [second[k] for k in kept] == ["p", "rows", "row 3", "bench", "b0", "embedded", 1.0]
    assert second["span"] == ITEMS[0].rstrip("?")
    assert {r["pool"] for r in store.rows("select pool from prompts")} == {"p"}


def test_a_source_that_holds_much_of_a_benchmark_is_named(store: Store, jsonl: Jsonl) -> None:
    words = [f"{a}{b}" for a in "bdfgklmnpr" for b in ("al", "en", "ir", "os", "um")]
    order = Random(0)
    items = [" ".join(order.sample(words, 12)) for _ in range(80)]
    bench = jsonl([{"prompt": item} for item in items], "bench.jsonl")
    rows = [
        ("leaky", items[0]),
        ("leaky", items[1]),
        ("nearly", items[2]),
        ("leaky", items[0] + "."),
    ]
    path = jsonl([{"prompt": text, "source": source} for source, text in rows])
    report = _add(store, path, against=(str(bench),))
    assert report.contamination == [
        {"source": "leaky", "benchmark": "bench", "rows": 3, "items": 2, "of": 80, "share": 0.025},
        {
            "source": "nearly",
            "benchmark": "bench",
            "rows": 1,
            "items": 1,
            "of": 80,
            "share": 0.0125,
        },
    ]
    (note,) = report.notes
    assert note.startswith("2.5 % of bench is in leaky (2 of 80 items; more than 2 % is suspect")


PIECE = "the sky looks blue at noon and red in the evening"


@pytest.mark.parametrize(
    ("turns", "item", "kind", "turn"),
    [
        ([OTHERS[0], ITEMS[1].upper()], "b1", "exact", 2),
        ([OTHERS[0], "Thanks!", f"One more thing.\n{ITEMS[0]}\nBe brief."], "b0", "embedded", 3),
        ([OTHERS[1], f"Now tell me why {PIECE}, and nothing else"], "b2", "overlap", 2),
        ([ITEMS[2], "Go on"], "b2", "exact", 1),
        ([OTHERS[0] * 9, " ".join(ITEMS[0].split()[:10])], "b0", "truncated", 2),
    ],
)
def test_every_turn_of_a_conversation_is_looked_at_and_the_evidence_says_which_has_it(
    store: Store, jsonl: Jsonl, turns: list[str], item: str, kind: str, turn: int
) -> None:
    bench = jsonl([{"id": f"b{n}", "question": i} for n, i in enumerate(ITEMS)], "bench.jsonl")
    path = jsonl([{"turns": turns}, {"turns": OTHERS}])
    settings = CleanSettings(against=(str(bench),))
    report = add_prompts(
        store, path, pool="p", run_id="r", mapping=resolve(["turns=turns"]),
        cleaner=open_cleaner(store, settings, pool="p"),
    )  # fmt: skip
    assert (report.added, dict(report.dropped)) == (1, {"contaminated": 1})
    [found] = _drops(store, "contaminated")
    assert (found["item"], found["kind"], found["turn"]) == (item, kind, turn)


def test_a_conversation_that_is_given_whole_is_looked_at_turn_by_turn_too(
    store: Store, jsonl: Jsonl
) -> None:
    bench = jsonl([{"question": item} for item in ITEMS], "bench.jsonl")
    said = [
        {"role": "system", "content": OTHERS[1]},
        {"role": "user", "content": OTHERS[0] * 9},
        {"role": "assistant", "content": "A lamp."},
        {"role": "user", "content": " ".join(ITEMS[0].split()[:10])},
    ]
    _add(store, jsonl([{"messages": said}]), against=(str(bench),))
    [found] = _drops(store, "contaminated")
    assert (found["kind"], found["turn"]) == ("truncated", 2)


def test_words_that_go_on_with_a_conversation_are_no_item_of_a_benchmark(
    store: Store, jsonl: Jsonl
) -> None:
    bench = jsonl([{"question": q} for q in ("Go on", "Tell me more", ITEMS[0])], "bench.jsonl")
    path = jsonl([{"turns": [OTHERS[0], "Go on", "tell me more!"]}])
    report = add_prompts(
        store, path, pool="p", run_id="r", mapping=resolve(["turns=turns"]),
        cleaner=open_cleaner(store, CleanSettings(against=(str(bench),)), pool="p"),
    )  # fmt: skip
    assert (report.added, dict(report.dropped)) == (1, {})


def test_the_later_turns_of_a_pool_are_items_of_it(store: Store, jsonl: Jsonl) -> None:
    held = jsonl([{"turns": [OTHERS[0], ITEMS[0]]}], "held.jsonl")
    add_prompts(store, held, pool="held", run_id="r", mapping=resolve(["turns=turns"]))
    report = _add(store, jsonl([{"prompt": ITEMS[0]}, {"prompt": ITEMS[1]}]), against=("held",))
    assert (report.added, dict(report.dropped)) == (1, {"contaminated": 1})


def test_a_pool_is_a_benchmark_by_its_name(store: Store, jsonl: Jsonl) -> None:
    add_prompts(store, jsonl([{"prompt": ITEMS[0]}]), pool="heldout", run_id="r")
    report = _add(store, jsonl([{"prompt": ITEMS[0] + " "}], "b.jsonl"), against=("heldout",))
    assert dict(report.dropped) == {"contaminated": 1}
    assert _drops(store, "contaminated")[0]["benchmark"] == "heldout"


def test_what_was_added_before_it_was_known_is_drawn_no_more(store: Store, jsonl: Jsonl) -> None:
    path = jsonl({"prompt": t} for t in (*ITEMS, *OTHERS))
    add_prompts(store, path, pool="p", run_id="r", gate=0, dev=0)
    bench = jsonl([{"prompt": item} for item in ITEMS], "bench.jsonl")
    report = _add(store, path, against=(str(bench),))
    assert (report.added, report.present) == (0, 2)
    assert any("3 contaminated prompts were in the pool already" in n for n in report.notes)
    drawn = draw_prompts(
        store, run_id="x", round=1, n=9, purpose="train", pools={"p": 1}, seed=0
    ).prompt_ids
    texts = store.rows("select messages from prompts where prompt_id in (select unnest($i))",
                       {"i": drawn})  # fmt: skip
    assert {json.loads(t["messages"])[0]["content"] for t in texts} == set(OTHERS)


def test_the_same_command_again_changes_nothing(store: Store, jsonl: Jsonl) -> None:
    bench = jsonl([{"prompt": item} for item in ITEMS], "bench.jsonl")
    path = jsonl({"prompt": t} for t in (*ITEMS, *OTHERS, OTHERS[0] + "!", OTHERS[0] + "?"))
    clean = {"against": (str(bench),), "near_duplicates": True}
    first = _add(store, path, **clean)
    tables = [store.rows(f"select * from {t} order by all") for t in ("prompts", "drops")]
    again = _add(store, path, **clean)
    assert (first.added, again.added, again.present) == (2, 0, 2)
    assert first.dropped == again.dropped == {"contaminated": 3, "near_duplicate": 2}
    assert [store.rows(f"select * from {t} order by all") for t in ("prompts", "drops")] == tables


def test_near_duplicates_name_the_kept_prompt_even_of_another_pool(
    store: Store, jsonl: Jsonl
) -> None:
    add_prompts(store, jsonl([{"prompt": OTHERS[0]}]), pool="old", run_id="r")
    (kept,) = store.rows("select prompt_id from prompts")
    rows = [{"prompt": OTHERS[0].lower()}, {"prompt": OTHERS[1]}]
    report = _add(store, jsonl(rows, "b.jsonl"), near_duplicates=True)
    assert (report.added, dict(report.dropped)) == (1, {"near_duplicate": 1})
    (drop,) = _drops(store, "near_duplicate")
    assert (drop["kept"], drop["similarity"]) == (kept["prompt_id"], 1.0)


def test_other_languages_are_left_out_and_what_cannot_be_told_is_kept(
    store: Store, jsonl: Jsonl
) -> None:
    german = "Bitte erkläre mir in wenigen Sätzen, warum der Himmel am Mittag blau aussieht."
    rows = [
        {"prompt": OTHERS[0]},
        {"prompt": german},
        {"prompt": "def f(x):\n    return [y ** 2 for y in x if y % 2]"},
        {"prompt": "bonjour"},
        {"prompt": "Por favor", "lang": "es"},
        {"prompt": "Please", "lang": "en-GB"},
    ]
    report = _add(store, jsonl(rows), lang=("en",))
    assert (report.added, dict(report.dropped)) == (4, {"language": 2})
    assert [d["lang"] for d in _drops(store, "language")] == ["de", "es"]
    langs = store.rows("select lang, count(*) as n from prompts group by all order by all")
    assert langs == [{"lang": "", "n": 2}, {"lang": "en", "n": 1}, {"lang": "en-GB", "n": 1}]
    assert len({language_of(german) for _ in range(20)}) == 1


def test_lengths_are_kept_between_and_nothing_is_cut(store: Store, jsonl: Jsonl) -> None:
    path = jsonl([{"prompt": "x" * n} for n in (4, 5, 10, 11)])
    report = _add(store, path, min_chars=5, max_chars=10)
    assert (report.added, dict(report.dropped)) == (2, {"too_short": 1, "too_long": 1})
    lengths = store.rows("select n_chars from prompts order by all")
    assert [r["n_chars"] for r in lengths] == [5, 10]


def test_made_prompts_are_cleaned_like_read_ones(store: Store, jsonl: Jsonl) -> None:
    made = [task.prompt.messages[0]["content"] for task in make_tasks(30, seed=1)]
    bench = jsonl([{"prompt": text} for text in made[:10]], "bench.jsonl")
    cleaner = open_cleaner(store, CleanSettings(against=(str(bench),)), pool="toy")
    report = make_pool(store, "toyworld", rows=30, seed=1, pool="toy", run_id="r", cleaner=cleaner)
    assert (report.added, dict(report.dropped)) == (20, {"contaminated": 10})
    details = [json.loads(r["detail"]) for r in store.rows("select detail from drops")]
    assert {(d["pool"], d["benchmark"], d["kind"]) for d in details} == {("toy", "bench", "exact")}
    assert report.contamination[0]["share"] == 1.0


def test_mistakes_are_told_with_the_next_command(store: Store, jsonl: Jsonl) -> None:
    add_prompts(store, jsonl([{"prompt": "a"}]), pool="gsm8k", run_id="r")
    for named, said in (("gsm8", "did you mean the pool 'gsm8k'"), ("no.jsonl", "does not exist")):
        with pytest.raises(UserError, match=said):
            open_cleaner(store, CleanSettings(against=(named,)), pool="p")
    with pytest.raises(UserError, match="clean of itself"):
        open_cleaner(store, CleanSettings(against=("gsm8k",)), pool="gsm8k")
    odd = jsonl([{"stem": "x"}], "odd.jsonl")
    with pytest.raises(UserError, match="no column holds a benchmark's items; there are stem"):
        open_cleaner(store, CleanSettings(against=(str(odd),)), pool="p")


def test_nothing_asked_is_nothing_left_out(store: Store) -> None:
    assert open_cleaner(store, CleanSettings(), pool="p") is None


def test_the_command_line_tells_the_table_the_benchmarks_and_the_verdict(
    store: Store, jsonl: Jsonl
) -> None:
    bench = jsonl([{"prompt": item} for item in ITEMS], "bench.jsonl")
    path = jsonl({"prompt": t} for t in (ITEMS[0], *OTHERS, "x" * 500))
    words = ["prompts", "add", str(path), "--pool", "p", "--against", str(bench),
             "--near-duplicates", "--max-chars", "400",
             "--workspace", str(store.workspace)]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", "from factory.cli import main; main()", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, *rest = done.stdout.splitlines()
    told = dict(zip(first.split("\t"), rest[0].split("\t"), strict=True))
    assert (told["read"], told["added"]) == ("4", "2")
    assert json.loads(told["dropped"]) == {"contaminated": 1, "too_long": 1}
    assert rest[1:4] == [
        "# benchmarks found in the files",
        "pool\tsource\tbenchmark\trows\titems\tof\tshare",
        "p\trows\tbench\t1\t1\t3\t0.3333",
    ]
    assert rest[4].startswith("33.3 % of bench is in rows (1 of 3 items")
