"""An edit of a judge that is taken back: the verdicts that count are those asked for last."""

from __future__ import annotations

from collections.abc import Callable

from factory.judging.verb import judge
from factory.recipe.model import Judging
from factory.store import Store

GERMAN = "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter von heute."
ENGLISH = "This is a perfectly ordinary English sentence about the weather today."


def test_an_edit_that_is_taken_back_is_asked_about_nothing_and_decides_again(
    store: Store, fill: Callable[..., list[str]]
) -> None:
    ids = fill(store, [("Say something.", [GERMAN, ENGLISH])])
    file = store.workspace / "judges" / "mine.md"
    file.parent.mkdir(parents=True)

    def best(language: str) -> tuple[str, int]:
        file.write_text(
            "---\nkind: verifier\ndescription: d\nverifier: language\n"
            f"verifier_args: {{language: {language}}}\n---\nWords.\n",
            encoding="utf-8",
        )
        report = judge(
            store, judges=["mine"], completion_ids=ids, judging=Judging(judges=("mine",)),
            run_id=language,
        )  # fmt: skip
        sql = (
            "select c.text from scores s join completions c using (completion_id) "
            "where s.judge = 'mine' and s.score = 1"
        )
        [row] = store.rows(sql)
        return row["text"], report.made

    assert [best("de"), best("en"), best("de"), best("en")] == [
        (GERMAN, 2), (ENGLISH, 2), (GERMAN, 0), (ENGLISH, 0)
    ]  # fmt: skip
    moves = store.rows("select count(*) as n from pointer_moves where name = 'judge:mine'")
    assert moves[0]["n"] == 3
