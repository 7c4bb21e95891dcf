"""What the maker of constraints writes, the verifier of instructions can check."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from factory import rooms
from factory.judging.verifiers.instructions import CHECKS, verify
from factory.prompting.ingest import Defaults, finished
from factory.prompting.makers import files
from factory.prompting.makers.plan import parents_of
from factory.prompting.makers.verb import make_prompts
from factory.store import open_store

SAID = {
    "de": "Das ist eine einfache Antwort auf die Frage, und sie ist auf Deutsch geschrieben.",
    "fr": "Ceci est une réponse simple à la question, et elle est écrite en français.",
    "es": "Esta es una respuesta sencilla a la pregunta, y está escrita en español.",
    "it": "Questa è una risposta semplice alla domanda, ed è scritta in italiano.",
    "pt": "Esta é uma resposta simples à pergunta, e não está escrita em outra língua.",
}
"""A sentence of each language that may be asked for."""
PLAIN = "This is a plain answer to the question, written in English by somebody"
Arguments = Mapping[str, Any]
OBEY: dict[str, Callable[[Arguments], str]] = {
    "keywords:existence": lambda a: " and ".join(a["keywords"]),
    "keywords:frequency": lambda a: f"{a['keyword']} " * a["frequency"],
    "keywords:forbidden_words": lambda a: "A short reply",
    "keywords:letter_frequency": lambda a: a["letter"] * a["let_frequency"],
    "length_constraints:number_words": lambda a: (
        "word " * a["num_words"] if a["relation"] == "at least" else "word"
    ),
    "length_constraints:number_sentences": lambda a: (
        "They went on. " * a["num_sentences"] if a["relation"] == "at least" else "They went."
    ),
    "length_constraints:number_paragraphs": lambda a: "\n***\n".join(
        ["Text."] * a["num_paragraphs"]
    ),
    "length_constraints:nth_paragraph_first_word": lambda a: "\n\n".join(
        f"{a['first_word']} comes first" for _ in range(a["num_paragraphs"])
    ),
    "detectable_content:number_placeholders": lambda a: "[name] " * a["num_placeholders"],
    "detectable_content:postscript": lambda a: f"Text.\n{a['postscript_marker']} And more.",
    "detectable_format:number_bullet_lists": lambda a: "\n".join(["* A point."] * a["num_bullets"]),
    "detectable_format:number_highlighted_sections": lambda a: "*a part* " * a["num_highlights"],
    "detectable_format:multiple_sections": lambda a: "\n".join(
        f"{a['section_spliter']} {i + 1}\nText." for i in range(a["num_sections"])
    ),
    "detectable_format:title": lambda a: "<<A title>>\nText.",
    "detectable_format:json_format": lambda a: '{"answer": 1}',
    "detectable_format:constrained_response": lambda a: "My answer is maybe.",
    "combination:two_responses": lambda a: "One answer.\n******\nAnother reply.",
    "combination:repeat_prompt": lambda a: f"{a['prompt_to_repeat']}\nText.",
    "startend:end_checker": lambda a: f"Text. {a['end_phrase']}",
    "startend:quotation": lambda a: '"Text."',
    "change_case:capital_word_frequency": lambda a: (
        "WORD " * a["capital_frequency"] if a["capital_relation"] == "at least" else "no capitals"
    ),
    "change_case:english_capital": lambda a: PLAIN.upper(),
    "change_case:english_lowercase": lambda a: PLAIN.lower(),
    "language:response_language": lambda a: SAID[a["language"]],
    "punctuation:no_comma": lambda a: "No such sign here.",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Prompts with one constraint each, of every kind."""
    store = open_store(tmp_path_factory.mktemp("ws"), create=True)
    own = Defaults(pool="seeds", gate=0, dev=0)
    rows = [
        finished([{"role": "user", "content": f"What is thing number {i}?"}], own)
        for i in range(60)
    ]
    store.append("prompts", rows, run_id="r")
    text = (rooms.packaged("prompts") / "makers" / "constraints.md").read_text()
    single = text.replace("at_once: [1, 3]", "at_once: [1, 1]")
    maker = files.read(single, name="constraints", sha="one")
    parents = parents_of(store, maker, ["seeds"], seed=0, most=100)
    make_prompts(store, maker, rows=400, pool="new", run_id="r", seed=0, parents=parents)
    return store.rows("select messages, reference, constraints from prompts where pool = 'new'")


def test_every_kind_is_followed_by_an_answer_that_obeys_and_not_by_another(
    made: list[dict[str, Any]],
) -> None:
    seen: set[str] = set()
    for row in made:
        said = json.loads(row["constraints"])
        (name,), (given,) = said["instruction_id_list"], said["kwargs"]
        seen.add(name)
        assert name in CHECKS
        verdict = verify(row, OBEY[name](given))
        assert (verdict.status, verdict.score) == ("ok", 1.0), (name, given)
    assert seen == set(OBEY)


@pytest.mark.parametrize("text", ["Good, very good: here it is!", "x" * 40])
def test_what_ignores_its_constraint_scores_nothing_for_most_kinds(
    made: list[dict[str, Any]], text: str
) -> None:
    verdicts = [verify(row, text) for row in made]
    assert {verdict.status for verdict in verdicts} == {"ok"}
    assert sum(verdict.score or 0 for verdict in verdicts) < 0.5 * len(verdicts)


def test_the_file_that_was_edited_is_read_from_the_rooms(tmp_path: Path) -> None:
    own = tmp_path / "prompts" / "makers"
    own.mkdir(parents=True)
    (own / "constraints.md").write_text(
        "---\ndescription: one\ngiven: prompt\nanswer: constraints\nconstraints:\n"
        "  - {id: 'punctuation:no_comma', say: No commas.}\n---\n"
        "{{ prompt }} {{ constraints[0] }}\n"
    )
    maker = files.load("constraints", workspace=tmp_path)
    assert [one.id for one in maker.front.constraints] == ["punctuation:no_comma"]
