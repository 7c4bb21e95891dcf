"""What a build of pairs promises, one rule a test."""

from __future__ import annotations

import pytest

from factory import rooms
from factory.errors import UserError
from factory.judging.sources import asked_last
from factory.pairing import Scope, build_pairs, build_sft, check_store, load_strategy, strategies
from factory.rows import BUCKETS, bucket_of, content_id, pair_id_of, sft_id_of
from factory.stages.label import _ROUND

PAIR_STRATEGIES = ["best_vs_worst", "best_vs_random", "margin", "verified"]


def build(world, strategy="best_vs_worst", **more):
    scope = more.pop("scope", Scope())
    return build_pairs(world.store, strategy=strategy, scope=scope, run_id="run", round=1, **more)


def test_the_best_is_chosen_and_the_worst_is_rejected(world):
    prompt = world.prompt("q")
    best = world.completion(prompt, "good", 0.9)
    world.completion(prompt, "middling", 0.5)
    worst = world.completion(prompt, "bad and long", 0.1)
    world.flush()
    report = build(world, scope=Scope(policy_model_id=world.rows["completions"][0]["model_id"]))
    [pair] = world.pairs()
    assert (pair["chosen_id"], pair["rejected_id"]) == (best, worst)
    assert (pair["score_chosen"], pair["score_rejected"]) == (0.9, 0.1)
    assert pair["margin"] == pytest.approx(0.8)
    assert pair["len_diff"] == len("good") - len("bad and long")
    assert pair["on_policy"] is True and pair["source"] == "verifier" and pair["round"] == 1
    assert pair["pair_id"] == pair_id_of(
        chosen_id=best, rejected_id=worst, build_id=report.build_id
    )
    assert (report.prompts, report.pairs, report.added, report.dropped) == (1, 1, 1, {})


@pytest.mark.parametrize("strategy", PAIR_STRATEGIES)
def test_ties_make_no_pair(world, strategy):
    prompt = world.prompt("q")
    world.completion(prompt, "a", 1.0)
    world.completion(prompt, "b", 1.0)
    world.flush()
    assert build(world, strategy).dropped == {"tie": 1}
    assert world.pairs() == [] and world.drops() == {prompt: "tie"}


@pytest.mark.parametrize(("one", "other"), [((3, 3, 7), (3, 4, 6)), ((3, 3, 8), (4, 4, 6))])
def test_means_of_thirds_that_are_equal_are_a_tie(world, one, other):
    prompt = world.prompt("q")
    for text, thirds in (("a", one), ("b", other)):
        asked = world.completion(prompt, text)
        for aspect, third in zip("xyz", thirds, strict=True):
            for turn in range(3):
                score = float(third // 3 + (turn < third % 3))
                world.verdict(asked, score, aspect=aspect)
                world.rows["judgements"][-1]["judgement_id"] += str(turn)
    world.flush()
    assert build(world).dropped == {"tie": 1}


@pytest.mark.parametrize("strategy", ["best_vs_worst", "best_vs_random", "margin"])
@pytest.mark.parametrize(("best", "worst", "margin"), [(0.7, 0.4, 0.3), (13 / 3, 10 / 3, 1.0)])
def test_a_margin_that_is_met_exactly_makes_a_pair(world, strategy, best, worst, margin):
    prompt = world.prompt("q")
    world.completion(prompt, "a", best)
    world.completion(prompt, "b", worst)
    world.flush()
    assert build(world, strategy, params={"min_margin": margin}).pairs == 1


@pytest.mark.parametrize("strategy", PAIR_STRATEGIES)
def test_chosen_is_never_rejected_by_text(world, strategy):
    prompt = world.prompt("q")
    world.completion(prompt, "same", 1.0, tokens=(1,))
    world.completion(prompt, "same", 0.0, tokens=(2,))
    world.flush()
    build(world, strategy)
    assert world.pairs() == [] and world.drops() == {prompt: "tie"}


@pytest.mark.parametrize("strategy", PAIR_STRATEGIES)
def test_chosen_is_never_rejected_by_tokens(world, strategy):
    prompt = world.prompt("q")
    world.completion(prompt, "one", 1.0)
    world.completion(prompt, "two", 0.0)
    for row in world.rows["completions"]:
        row["token_hash"] = "same"
    world.flush()
    build(world, strategy)
    assert world.pairs() == [] and world.drops() == {prompt: "tie"}


def test_duplicates_among_candidates_collapse_before_choosing(world):
    prompt = world.prompt("q")
    for text, score in [("twin", 1.0), ("twin", 1.0), ("other", 1.0), ("bad", 0.0), ("bad", 0.0)]:
        world.completion(prompt, text, score)
    world.flush()
    build(world, "margin", params={"max_pairs": 100})
    assert world.texts() == {("twin", "bad"), ("other", "bad")}
    assert len(world.pairs()) == 2


@pytest.mark.parametrize("finish", ["length", "abort", "no_answer", None])
@pytest.mark.parametrize("strategy", PAIR_STRATEGIES)
def test_a_cut_completion_is_never_chosen_but_may_be_rejected(world, strategy, finish):
    first, second = world.prompt("first"), world.prompt("second")
    world.completion(first, "cut and best", 1.0, finish=finish)
    world.completion(first, "whole", 1.0)
    world.completion(first, "wrong", 0.0, finish=finish)
    world.completion(second, "cut and best", 1.0, finish=finish)
    world.completion(second, "whole", 0.0)
    world.flush()
    build(world, strategy)
    assert world.texts() == {("whole", "wrong")}
    assert world.drops() == {second: "no_finished_candidate"}


def test_the_next_best_is_chosen_when_the_best_was_cut(world):
    prompt = world.prompt("q")
    world.completion(prompt, "cut", 0.9, finish="length")
    world.completion(prompt, "next", 0.6)
    world.completion(prompt, "worst", 0.2)
    world.flush()
    build(world)
    assert world.texts() == {("next", "worst")}


@pytest.mark.parametrize("status", ["unparsed", "refused", "truncated", "error"])
def test_only_ok_verdicts_make_pairs(world, status):
    prompt = world.prompt("q")
    world.completion(prompt, "a", 1.0, status=status)
    world.completion(prompt, "b", 0.0)
    other = world.prompt("r")
    world.completion(other, "c", 1.0, status=status)
    world.flush()
    build(world)
    assert world.pairs() == []
    assert world.drops() == {prompt: "too_few_scored", other: "unscored"}


def test_a_prompt_that_was_drawn_and_gave_nothing_is_a_drop(world):
    prompt = world.prompt("drawn")
    undrawn = world.prompt("not drawn")
    world.completion(undrawn, "a", 1.0)
    world.completion(undrawn, "b", 0.0)
    world.draw(prompt)
    world.flush()
    report = build(world, scope=Scope(run_id="run", round=1))
    assert world.drops() == {prompt: "no_completions"} and report.prompts == 1


def test_gate_and_dev_prompts_are_in_no_pair(world):
    for split in ("gate", "dev"):
        prompt = world.prompt(split, split=split)
        world.completion(prompt, "a", 1.0)
        world.completion(prompt, "b", 0.0)
        world.draw(prompt)
    world.flush()
    assert build(world).prompts == 0
    assert build(world, scope=Scope(run_id="run", round=1)).prompts == 0
    assert world.pairs() == [] and world.drops() == {}


def test_a_build_that_runs_again_adds_nothing(world):
    for i in range(20):
        prompt = world.prompt(f"q{i}")
        world.completion(prompt, "a", 1.0)
        world.completion(prompt, "b", float(i % 2))
    world.flush()
    first, again = build(world), build(world)
    assert (first.pairs, first.added, first.dropped) == (10, 10, {"tie": 10})
    assert (again.pairs, again.added, again.dropped) == (10, 0, {"tie": 10})
    assert len(world.pairs()) == 10 and len(world.drops()) == 10


def test_margin_takes_the_widest_pairs_first(world):
    prompt = world.prompt("q")
    for text, score in [("a", 4.0), ("b", 3.0), ("c", 1.0)]:
        world.completion(prompt, text, score)
    world.flush()
    build(world, "margin", params={"max_pairs": 2, "min_margin": 1.0})
    assert world.texts() == {("a", "c"), ("b", "c")}


def test_a_margin_that_no_two_reach_is_a_reason(world):
    prompt = world.prompt("q")
    world.completion(prompt, "a", 0.6)
    world.completion(prompt, "b", 0.5)
    world.flush()
    for strategy in ("margin", "best_vs_worst", "best_vs_random"):
        assert build(world, strategy, params={"min_margin": 0.2}).dropped == {"margin_too_small": 1}


def test_best_vs_random_rejects_something_strictly_lower_that_the_seed_decides(world):
    prompt = world.prompt("q")
    for i in range(10):
        world.completion(prompt, f"t{i}", i / 10)
    world.completion(prompt, "t9 too", 0.9)
    world.flush()
    for seed in range(12):
        build(world, "best_vs_random", params={"seed": seed})
    pairs = world.store.rows("select * from pairs")
    assert all(p["score_chosen"] == 0.9 > p["score_rejected"] for p in pairs)
    assert len({p["rejected_id"] for p in pairs}) > 3
    assert {p["chosen_id"] for p in pairs} == {
        c["completion_id"] for c in world.rows["completions"] if c["text"].startswith("t9")
    }


def test_verified_pairs_right_with_wrong_and_no_more_than_k(world):
    mixed, all_wrong, all_right = (world.prompt(t) for t in ("mixed", "wrong", "right"))
    for i in range(4):
        world.completion(mixed, f"right {i}", 1.0)
        world.completion(mixed, f"wrong {i}", 0.0)
    for i, score in enumerate((0.0, 0.5)):
        world.completion(all_wrong, f"w{i}", score)
        world.completion(all_right, f"r{i}", 0.5 + score)
    world.flush()
    build(world, "verified", params={"k": 9})
    pairs = world.pairs()
    assert len(pairs) == 9 and len({p["chosen_id"] for p in pairs}) == 3
    assert all((p["score_chosen"], p["score_rejected"]) == (1.0, 0.0) for p in pairs)
    assert world.drops() == {all_wrong: "none_right", all_right: "none_wrong"}


def test_best_of_n_keeps_the_best_that_is_finished_and_good_enough(world):
    prompt, poor, cut = (world.prompt(t) for t in ("q", "poor", "cut"))
    world.completion(prompt, "cut", 1.0, finish="length")
    best = world.completion(prompt, "best", 0.8)
    second = world.completion(prompt, "second", 0.7)
    world.completion(prompt, "third", 0.1)
    world.completion(poor, "poor", 0.1)
    world.completion(cut, "cut", 1.0, finish="abort")
    world.flush()
    report = build_sft(
        world.store, strategy="best_of_n", scope=Scope(), run_id="run", round=1,
        params={"keep": 2, "min_score": 0.5},
    )  # fmt: skip
    rows = world.store.rows("select * from sft_examples order by rank")
    assert [(r["completion_id"], r["rank"], r["score"]) for r in rows] == [
        (best, 1, 0.8), (second, 2, 0.7)
    ]  # fmt: skip
    assert rows[0]["n_candidates"] == 4
    assert rows[0]["sft_id"] == sft_id_of(completion_id=best, build_id=report.build_id)
    assert world.drops() == {poor: "below_min_score", cut: "no_finished_candidate"}


def test_the_same_rows_come_of_any_order_of_arrival(worlds):
    made = []
    for order in (1, -1):
        world = worlds()
        for i in range(30):
            prompt = world.prompt(f"q{i}")
            for j in range(6):
                world.completion(prompt, f"{i} {j % 5}", (i * j % 7) / 7)
        world.flush(order=order)
        for strategy in PAIR_STRATEGIES:
            build(world, strategy, params={"seed": 3})
        made.append(world.pairs("* exclude (created_at)"))
    assert made[0] == made[1] and len(made[0]) > 60


def test_a_build_in_groups_of_buckets_gives_the_same_pairs(worlds):
    made, drops = [], []
    for at_once in (10**6, 5):
        world = worlds()
        for i in range(40):
            prompt = world.prompt(f"q{i}")
            for j in range(3):
                world.completion(prompt, f"{j}", float(i % 3 and j))
        world.flush()
        report = build(world, max_rows_at_once=at_once, memory_limit="200MB")
        made.append(world.pairs("* exclude (created_at)"))
        drops.append((report.dropped, report.prompts, world.drops()))
    assert made[0] == made[1] and drops[0] == drops[1]
    assert not list((world.store.workspace / "runs" / "run").iterdir())


def test_with_several_judges_one_must_be_named_and_all_must_score(world):
    prompt, half = world.prompt("q"), world.prompt("half")
    for p in (prompt, half):
        for text, one, two in [("a", 1.0, 0.0), ("b", 0.0, 0.5)]:
            completion = world.completion(p, text, one)
            if p == prompt:
                world.verdict(completion, two, judge="other")
    world.flush()
    with pytest.raises(UserError, match=r"whose scores.*other, right"):
        build(world)
    with pytest.raises(UserError, match="no judgement is by nobody"):
        build(world, scope=Scope(judges=("nobody",)))
    build(world, scope=Scope(judges=("other", "right")))
    [pair] = world.pairs()
    assert (pair["judge"], pair["score_chosen"], pair["score_rejected"]) == (
        "other+right", 0.5, 0.25
    )  # fmt: skip
    assert world.drops() == {half: "unscored"}


def test_scope_keeps_to_its_round_pools_and_models(world):
    here, there = world.prompt("here"), world.prompt("there", pool="q")
    for prompt in (here, there):
        world.completion(prompt, "a", 1.0)
        world.completion(prompt, "b", 0.0)
        world.completion(prompt, "other model", 0.5, model_id="other")
    world.draw(here)
    world.flush()
    scopes = {
        Scope(run_id="run", round=1): [here],
        Scope(pools=("q",)): [there],
        Scope(model_ids=("other",)): [],
    }
    for i, (scope, expected) in enumerate(scopes.items()):
        report = build(world, "margin", scope=scope, params={"seed": i})
        rows = world.store.query(
            "select distinct prompt_id from pairs where strategy_id = $s", {"s": report.strategy_id}
        )
        assert rows.column(0).to_pylist() == expected
    assert report.dropped == {"too_few_scored": 2}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select 1 as prompt_id from candidates", "yields no column chosen_id"),
        ("select nonsense from candidates", "nonsense"),
        (
            "select prompt_id, min(completion_id) as chosen_id, min(completion_id) as rejected_id,"
            " 1.0 as score_chosen, 0.0 as score_rejected, null as reason from candidates"
            " where score = 1.0 group by 1",
            "check chosen_is_rejected found 1 rows",
        ),
        (
            "select a.prompt_id, a.completion_id as chosen_id, b.completion_id as rejected_id,"
            " a.score as score_chosen, b.score as score_rejected, null as reason"
            " from candidates a join candidates b on a.prompt_id = b.prompt_id"
            " and a.can_be_chosen and a.score < b.score and b.score = 1.0",
            "check chosen_not_better found 1 rows",
        ),
        (
            "select a.prompt_id, a.completion_id as chosen_id, b.completion_id as rejected_id,"
            " 2.0 as score_chosen, 1.0 as score_rejected, null as reason"
            " from scoped a join scoped b on a.prompt_id = b.prompt_id"
            " and not a.can_be_chosen and b.score = 0.0",
            "check chosen_is_cut found 1 rows",
        ),
    ],
)
def test_a_strategy_of_ones_own_that_errs_writes_nothing(world, sql, message):
    prompt = world.prompt("q")
    world.completion(prompt, "a", 1.0)
    world.completion(prompt, "b", 0.0)
    world.completion(prompt, "c", 0.5, finish="length")
    world.flush()
    own = world.store.workspace / "storage" / "strategies"
    own.mkdir(parents=True)
    (own / "mine.sql").write_text(f"-- mine\n-- kind pairs\n{sql}\n")
    with pytest.raises(UserError) as refused:
        build(world, "mine")
    assert message in refused.value.message
    assert world.pairs() == [] and check_store(world.store) == []


def test_a_strategy_that_says_nothing_of_a_prompt_still_leaves_a_drop(world):
    prompt = world.prompt("q")
    world.completion(prompt, "a", 1.0)
    world.flush()
    own = world.store.workspace / "storage" / "strategies"
    own.mkdir(parents=True)
    (own / "mine.sql").write_text(
        "-- mine\n-- kind pairs\nselect prompt_id, completion_id as chosen_id,"
        " completion_id as rejected_id, score as score_chosen, score as score_rejected,"
        " null as reason from candidates where false\n"
    )
    build(world, "mine")
    assert world.drops() == {prompt: "not_selected"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"min_margn": 1.0}, "did you mean 'min_margin'"),
        ({"min_margin": "wide"}, "min_margin is a float, not 'wide'"),
        ({"seed": True}, "seed is a int"),
    ],
)
def test_a_wrong_parameter_is_named(world, params, message):
    world.flush()
    with pytest.raises(UserError, match=message):
        build(world, params=params)


def test_a_strategy_of_the_other_kind_is_refused(world):
    with pytest.raises(UserError, match="best_of_n makes sft, not pairs"):
        build(world, "best_of_n")


def test_every_strategy_declares_what_it_is_and_its_parameters():
    found = strategies()
    assert set(found) >= {*PAIR_STRATEGIES, "best_of_n"}
    assert all(s.about.endswith(".") for s in found.values())
    verified = {p.name: p.default for p in load_strategy("verified", workspace=None).params}
    assert verified == {"right_from": 1.0, "wrong_to": 0.0, "max_right": 3, "max_wrong": 3, "k": 1}


def test_a_completion_known_from_its_judgements_alone_is_in_no_pair(world):
    prompt = world.prompt("q")
    world.completion(prompt, "seen", 0.0)
    world.completion(prompt, "unseen", 1.0)
    world.rows["completions"][-1] |= {"text": None, "text_hash": None, "token_hash": None}
    world.flush()
    build(world)
    assert world.pairs() == [] and world.drops() == {prompt: "too_few_scored"}


def frozen_rows(world, report, *, run_id, kind="preference"):
    """The rows that a version of this build would hold."""
    sql = rooms.read("storage/exports", f"{kind}_rows", suffix=".sql", workspace=None).text
    bound = {
        "strategy_id": report.strategy_id, "build_id": None, "run_id": run_id, "round": 1,
        "first_bucket": 0, "last_bucket": BUCKETS - 1, "tokenizer_digest": None,
    }  # fmt: skip
    return world.store.rows(sql, bound)


@pytest.mark.parametrize("kind", ["preference", "sft"])
def test_an_edited_judge_makes_another_strategy_and_old_rows_stay_out(world, kind):
    prompt = world.prompt("q")
    low, high = world.completion(prompt, "a", 0.1), world.completion(prompt, "b", 0.9)
    world.draw(prompt)
    world.draw(prompt, run_id="again")
    world.flush()
    made, strategy = (
        (build_pairs, "best_vs_worst") if kind == "preference" else (build_sft, "best_of_n")
    )

    def run(run_id):
        scope = Scope(run_id=run_id, round=1)
        return made(world.store, strategy=strategy, scope=scope, run_id=run_id, round=1)

    first = run("run")
    assert run("run").strategy_id == first.strategy_id
    world.rows = {"completions": world.rows["completions"]}
    world.verdict(low, 0.9, version="2")
    world.verdict(high, 0.1, version="2")
    world.store.append("judgements", world.rows["judgements"], run_id="again")
    second = run("again")
    assert second.strategy_id != first.strategy_id
    [row] = frozen_rows(world, second, run_id="again", kind=kind)
    assert row["chosen_id" if kind == "preference" else "completion_id"] == low


def test_an_edit_that_is_taken_back_makes_the_labels_again(world):
    prompt = world.prompt("q")
    low, high = world.completion(prompt, "a", 0.1), world.completion(prompt, "b", 0.9)
    world.flush()
    first = build(world)
    world.rows = {"completions": world.rows["completions"]}
    world.verdict(low, 0.9, version="2")
    world.verdict(high, 0.1, version="2")
    world.store.append("judgements", world.rows["judgements"], run_id="later")
    assert build(world).strategy_id != first.strategy_id
    asked_last(world.store, {"right": content_id("judge", "right")}, run_id="back")
    again = build(world)
    assert (again.strategy_id, again.build_id) == (first.strategy_id, first.build_id)
    rated = "select score from rated_completions where completion_id = $id"
    assert world.store.rows(rated, {"id": low}) == [{"score": 0.1}]
    asked_last(world.store, {"right": content_id("judge", "right2")}, run_id="edited")
    assert build(world).strategy_id != first.strategy_id
    assert world.store.rows(rated, {"id": low}) == [{"score": 0.9}]


def test_a_judge_of_two_kinds_on_one_completion_is_refused(world):
    prompt = world.prompt("q")
    a, b = world.completion(prompt, "a", 5.0), world.completion(prompt, "b", 1.0)
    world.flush()
    rows = [
        {"judgement_id": f"pair-{first}", "kind": "pairwise", "judge": "right", "judge_id": "newer",
         "prompt_id": prompt, "completion_ids": [first, second], "status": "ok", "winner_id": b,
         "bucket": bucket_of(prompt)}
        for first, second in ((a, b), (b, a))
    ]  # fmt: skip
    world.store.append("judgements", rows, run_id="later")
    with pytest.raises(UserError, match="both scored and compared"):
        build(world)


def test_an_edited_judge_leaves_scopes_alone_that_it_did_not_score(world):
    here, there = world.prompt("here"), world.prompt("there", pool="q")
    for prompt in (here, there):
        world.completion(prompt, "a", 1.0)
        last = world.completion(prompt, "b", 0.0)
    world.flush()
    before = [build(world, scope=Scope(pools=(pool,))).strategy_id for pool in "pq"]
    world.rows = {"completions": world.rows["completions"]}
    world.verdict(last, 0.5, version="2")
    world.store.append("judgements", world.rows["judgements"], run_id="made")
    after = [build(world, scope=Scope(pools=(pool,))).strategy_id for pool in "pq"]
    assert before[0] == before[1] == after[0] != after[1]


def test_a_scored_completion_is_no_copy_of_an_unscored_one_with_the_same_tokens(world):
    for i in range(8):  # which of two twins stands first is a lot
        prompt = world.prompt(f"q{i}")
        world.completion(prompt, "good", 1.0)
        world.completion(prompt, "goo d")
        for row in world.rows["completions"][-2:]:
            row["token_hash"] = f"same {i}"
        world.completion(prompt, "bad", 0.0)
    world.flush()
    assert (build(world).pairs, world.texts()) == (8, {("good", "bad")})


def test_a_round_pairs_only_the_samples_that_it_drew(world):
    prompt = world.prompt("q")
    for i, score in enumerate((0.5, 0.2, 0.9, 0.1)):
        world.completion(prompt, f"{i}", score)
    world.draw(prompt, run_id="wide", n=4)
    world.draw(prompt, run_id="narrow", n=2)
    world.flush()
    made = {}
    for run_id in ("wide", "narrow"):
        scope = Scope(run_id=run_id, round=1)
        common = {"scope": scope, "run_id": run_id, "round": 1}
        pairs = build_pairs(world.store, strategy="best_vs_worst", **common)
        sft = build_sft(world.store, strategy="best_of_n", **common)
        made[run_id] = (pairs, sft)
    assert world.texts() == {("2", "3"), ("0", "1")}
    [pair] = frozen_rows(world, made["narrow"][0], run_id="narrow")
    assert (pair["score_chosen"], pair["score_rejected"]) == (0.5, 0.2)
    [best] = frozen_rows(world, made["narrow"][1], run_id="narrow", kind="sft")
    assert best["score"] == 0.5


def test_a_round_judges_only_the_samples_of_its_seed_and_number(world):
    prompt = world.prompt("q")
    wanted = [world.completion(prompt, t) for t in ("a", "b")]
    world.completion(prompt, "a third")
    world.completion(prompt, "another seed")
    world.rows["completions"][-1] |= {"seed": 9, "sample_idx": 0}
    world.draw(prompt, n=2)
    world.flush()
    rows = world.store.rows(_ROUND, {"run_id": "run", "round": 1, "purposes": ["train"]})
    assert [r["completion_id"] for r in rows] == sorted(wanted)
