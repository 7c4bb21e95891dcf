"""The walk with an LLM judge: a real HTTP server on loopback that sometimes answers prose."""

from __future__ import annotations

import re

from tests.judging.server import Body, Server, serving
from tests.walk.conftest import SMALL, Factory

QUIRKS = 7


def likes_letters(body: Body) -> str:
    """A rating by how many vowels the text has; every seventh answer is prose."""
    text = body["messages"][-1]["content"]
    vowels = len(re.findall("[aeiou]", text))
    if len(text) % QUIRKS == 0:
        return "What a lovely answer!"
    return f"Rating: {1 + vowels % 5}\nRationale: vowels."


def flags(url: str, *more: str) -> list[str]:
    values = [
        *(v for v in SMALL if not v.startswith(("judging.", "pairing."))),
        "judging.judges=[ultrafeedback, vowels]",
        f"judging.endpoints.judge.base_url={url}",
        "pairing.judge=ultrafeedback",
        "gate.judge=vowels",
        "prompts.per_round=8",
        *more,
    ]
    return [word for value in values for word in ("--set", value)]


def test_a_budget_stops_the_walk_and_a_raised_one_goes_on_without_paying_twice(factory: Factory):
    with serving(Server(brain=likes_letters)) as server:
        poor = flags(server.url, "judging.budget_usd=0.05")
        said = factory.run("run", "llm-judge", "--no-prefect", *poor, code=75)
        assert "do not fit the budget" in said and "next:" in said
        paid = len(server.billed)
        assert paid > 0
        spent = factory.sql("select spent_microusd + reserved_microusd as s from budgets")[0]["s"]
        assert int(str(spent)) <= 50_000
        rich = flags(server.url, "judging.budget_usd=50")
        assert "try next:" in factory.run("run", "llm-judge", "--no-prefect", *rich)
        calls = factory.sql("select count(*) n, sum(attempts) a from calls where state = 'done'")[0]
    assert calls["n"] == calls["a"] == len(server.billed)
    statuses = {
        row["status"]: row["n"]
        for row in factory.sql(
            "select status, count(*) n from judgements where judge = 'ultrafeedback' group by 1"
        )
    }
    assert statuses["ok"] > 0 and statuses["unparsed"] > 0
    assert statuses["ok"] + statuses["unparsed"] == 8 * 4 * 4
    numbers = factory.sql(
        "select count(*) n from judgements where status <> 'ok' and score is not null"
    )
    assert numbers[0]["n"] == 0
    half_judged = factory.sql(
        "select count(*) n from pairs p where exists (select 1 from judgements j where "
        "j.judge = 'ultrafeedback' and j.completion_id in (p.chosen_id, p.rejected_id) "
        "and j.status <> 'ok')"
    )
    assert half_judged[0]["n"] == 0


def test_an_unreachable_judge_stops_the_walk_resumably_and_names_the_field(factory: Factory):
    words = flags("http://127.0.0.1:9/v1", "judging.endpoints.judge.max_attempts=2")
    said = factory.run("run", "llm-judge", "--no-prefect", *words, code=75)
    assert "judging.endpoints.judge.base_url" in said and "cannot be reached" in said
    assert factory.sql("select count(*) n from completions")[0]["n"] > 0
