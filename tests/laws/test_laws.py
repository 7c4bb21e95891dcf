"""The laws of the design, one test or more each, named after them.

Laws 1, 3, 7 and 9 have property tests with random interleavings in files of their own beside this.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from factory.gating import HeldOut, gate, rollback
from factory.gating.verb import champion_name, champion_of
from factory.pairing import Scope, build_pairs
from factory.rows import KEYS, STATUSES
from factory.sampling.identity import identify
from factory.sampling.verb import plan
from factory.stages import open_run
from factory.store import open_store
from tests.pairing.conftest import World
from tests.walk.conftest import SMALL, Factory


def test_law_1_identity_is_content_a_stage_that_runs_again_adds_nothing(played: Factory):
    def rows() -> dict[str, object]:
        return {t: played.sql(f"select count(*) n from {t}")[0]["n"] for t in KEYS}

    before = rows()
    store = open_store(played.workspace)
    # Forget that anything was done: every stage runs again, and finds its rows by id.
    with store.ledger.transaction() as con:
        con.exec_driver_sql("delete from steps where stage not in ('draw', 'starter')")
        con.exec_driver_sql("update runs set state = 'running' where rounds > 0")
    played.play()
    assert rows() == before


def model_of(played: Factory) -> tuple[str, Path]:
    found = played.sql("select model_id, uri from models order by created_at limit 1")[0]
    return str(found["model_id"]), played.workspace / str(found["uri"])


def test_law_2_a_model_is_its_weights_old_weights_elsewhere_are_the_same_model(
    played: Factory, tmp_path: Path
):
    model_id, path = model_of(played)
    elsewhere = tmp_path / "another-name"
    shutil.copytree(path, elsewhere)
    assert identify(elsewhere).model_id == model_id
    store = open_store(played.workspace)
    draw = draws_of(played, model_id)
    assert plan(store, draws=[draw], params=params_of(), model_dir=elsewhere, run_id="r") == []


def test_law_2_a_model_is_its_weights_new_weights_in_the_old_place_are_another(
    played: Factory, tmp_path: Path
):
    model_id, path = model_of(played)
    place = tmp_path / "same-name"
    shutil.copytree(path, place)
    weights = place / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    changed = identify(place).model_id
    assert changed != model_id
    store = open_store(played.workspace)
    draw = {**draws_of(played, model_id), "model_id": changed}
    shards = plan(store, draws=[draw], params=params_of(), model_dir=place, run_id="r")
    wanted = len(draw["prompt_ids"]) * draw["n"]
    assert sum(shard.n_completions for shard in shards) == wanted


def params_of():
    from factory.recipe import load

    return load("quickstart", overrides=SMALL, environ={}).sampling.params()


def draws_of(played: Factory, model_id: str) -> dict[str, object]:
    rows = played.sql(
        "select model_id, params_id, seed, n, list(prompt_id) prompt_ids from draws "
        f"where purpose = 'train' and model_id = '{model_id}' group by all"
    )
    return rows[0]


def test_law_2_a_checkpoint_replaced_under_its_name_is_refused(factory: Factory):
    factory.play()
    store = open_store(factory.workspace)
    champion = champion_of(store, "quickstart")
    (row,) = store.rows("select uri from models where model_id = $m", {"m": champion})
    path = factory.workspace / row["uri"]
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(
        json.dumps({**config, "rope_theta": 123.0, "rms_norm_eps": 1})
    )
    said = factory.run(*factory.playing(), "--rounds", "2", code=1)
    assert "changed: it holds model" in said


def test_law_3_append_only_what_is_dropped_keeps_a_row_with_a_reason(played: Factory):
    rows = played.sql(
        "select d.prompt_id from draws d where d.purpose = 'train' and d.round = 1 "
        "and d.prompt_id not in (select prompt_id from pairs) "
        "and d.prompt_id not in (select prompt_id from drops where reason is not null)"
    )
    assert rows == []


def test_law_4_train_on_what_was_sampled_ids_are_equal_byte_for_byte(played: Factory):
    version = played.sql("select version_id from dataset_versions where kind = 'preference'")[0]
    tokens = pq.read_table(
        played.workspace / "datasets" / str(version["version_id"]) / "tokens.parquet"
    ).to_pylist()
    sampled = {
        row["pair_id"]: row
        for row in played.sql(
            "select pair_id, c.prompt_token_ids p, c.token_ids c, r.token_ids r, "
            "c.retokenised or r.retokenised as again from pairs x "
            "join completions c on c.completion_id = chosen_id "
            "join completions r on r.completion_id = rejected_id"
        )
    }
    assert len(tokens) == len(sampled) > 0
    for row in tokens:
        was = sampled[row["pair_id"]]
        assert (row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) == (
            was["p"], was["c"], was["r"],
        )  # fmt: skip
        assert was["again"] is False


def test_law_5_nothing_is_cut_a_length_stopped_completion_is_never_chosen(world: World):
    prompt = world.prompt("say it")
    world.completion(prompt, "the best, but cut", 1.0, finish="length")
    world.completion(prompt, "good", 0.8)
    world.completion(prompt, "bad", 0.1)
    build_pairs(world.flush(), strategy="best_vs_worst", scope=Scope(), run_id="r")
    assert world.texts() == {("good", "bad")}


def test_law_5_nothing_is_cut_eos_is_never_invented(played: Factory):
    _, path = model_of(played)
    config = json.loads((path / "generation_config.json").read_text())
    eos = config["eos_token_id"]
    stops = eos if isinstance(eos, list) else [eos]
    rows = played.sql("select finish_reason f, token_ids[-1] last, n_tokens n from completions")
    assert {row["f"] for row in rows} <= {"stop", "length"}
    for row in rows:
        assert (row["last"] in stops) == (row["f"] == "stop")
        assert row["n"] <= 24


@pytest.mark.parametrize("status", [s for s in STATUSES if s != "ok"])
def test_law_6_a_verdict_that_did_not_parse_is_a_row_with_a_status_and_makes_no_pair(
    world: World, status: str
):
    prompt = world.prompt("p")
    world.completion(prompt, "a", 1.0)
    world.completion(prompt, "b", None, status=status)
    store = world.flush()
    build_pairs(store, strategy="best_vs_worst", scope=Scope(), run_id="r")
    assert world.pairs() == []
    assert world.drops() == {prompt: "too_few_scored"}
    assert store.rows("select count(*) n from judgements")[0]["n"] == 2


def test_law_7_join_by_id_never_by_position(world: World):
    """Rows arrive in any order, with gaps in the middle: each pair is of its own prompt."""
    for i in range(40):
        prompt = world.prompt(f"prompt {i}", split="gate" if i % 7 == 3 else "train")
        if i % 5:
            world.completion(prompt, f"good of {i}", 1.0)
            world.completion(prompt, f"bad of {i}", 0.0)
    build_pairs(world.flush(order=-1), strategy="best_vs_worst", scope=Scope(), run_id="r")
    expected = {(f"good of {i}", f"bad of {i}") for i in range(40) if i % 5 and i % 7 != 3}
    assert world.texts() == expected


def test_law_8_ties_make_no_pair_and_chosen_is_never_rejected(world: World):
    tied = world.prompt("tied")
    world.completion(tied, "x", 0.5)
    world.completion(tied, "y", 0.5)
    same = world.prompt("same")
    world.completion(same, "equal text", 1.0)
    world.completion(same, "equal text", 0.0)
    build_pairs(world.flush(), strategy="best_vs_worst", scope=Scope(), run_id="r")
    assert world.pairs() == []
    assert set(world.drops()) == {tied, same}


def test_law_11_a_vote_never_sees_a_models_name(played: Factory):
    names = {str(row["name"]) for row in played.sql("select name from models")}
    assert names
    for row in played.sql("select raw, rationale from judgements"):
        shown = f"{row['raw']} {row['rationale']}"
        assert not any(name and name in shown for name in names)


def test_law_12_prompts_are_in_exactly_one_split(played: Factory):
    twice = played.sql(
        "select prompt_id from prompts group by 1 having count(distinct split) > 1 or count(*) > 1"
    )
    assert twice == []
    leaked = played.sql(
        "select count(*) n from prompts p where p.split <> 'train' and ("
        "prompt_id in (select prompt_id from draws where purpose = 'train') "
        "or prompt_id in (select prompt_id from pairs) "
        "or prompt_id in (select prompt_id from sft_examples))"
    )
    assert leaked[0]["n"] == 0
    strays = played.sql(
        "select count(*) n from draws join prompts using (prompt_id) "
        "where purpose in ('gate', 'candidate') and split <> 'gate'"
    )
    assert strays[0]["n"] == 0


def test_law_12_the_starter_is_not_shown_a_held_out_prompt(played: Factory):
    demonstrations = next(played.workspace.glob("runs/*/round-0/demonstrations/tokens.parquet"))
    shown = {tuple(ids) for ids in pq.read_table(demonstrations).column("prompt_ids").to_pylist()}
    held_out = played.sql(
        "select c.prompt_token_ids ids from completions c join prompts using (prompt_id) "
        "where split = 'gate'"
    )
    assert held_out
    assert not shown & {tuple(row["ids"]) for row in held_out}


def held(score: float, n: int = 40) -> HeldOut:
    scores = {f"{i:032x}": [score, score if i % 2 else 0.0] for i in range(n)}
    return HeldOut(scores=scores, mean_length=3.0)


def test_law_13_promotion_is_earned_and_reversible(tmp_path: Path):
    store = open_store(tmp_path / "ws", create=True)
    store.ledger.move_pointer(champion_name("l"), "old", expect=None, reason="first")
    common = {
        "line": "l", "judge": "j", "judge_id": "j", "confidence": 0.95, "min_win_rate": 0.5,
        "run_id": "r",
    }  # fmt: skip
    lost = gate(
        store, champion_id="old", candidate_id="worse", champion=held(1.0), candidate=held(0.0),
        round=1, **common,
    )  # fmt: skip
    assert not lost.promoted and champion_of(store, "l") == "old"
    won = gate(
        store, champion_id="old", candidate_id="better", champion=held(0.0), candidate=held(1.0),
        round=2, **common,
    )  # fmt: skip
    assert won.promoted and champion_of(store, "l") == "better"
    again = gate(
        store, champion_id="old", candidate_id="better", champion=held(0.0), candidate=held(1.0),
        round=2, **common,
    )  # fmt: skip
    assert again.promoted
    assert store.rows("select count(*) n from gates")[0]["n"] == 2
    assert rollback(store, "l") == ("better", "old")
    assert champion_of(store, "l") == "old"


def test_law_13_answers_that_get_no_verdict_do_not_help_a_candidate(tmp_path: Path):
    """A candidate that the judge cannot read on most prompts is no winner by the rest."""
    store = open_store(tmp_path / "ws", create=True)
    store.ledger.move_pointer(champion_name("l"), "old", expect=None, reason="first")
    decision = gate(
        store, line="l", champion_id="old", candidate_id="new", champion=held(0.0, 200),
        candidate=held(1.0, 60), judge="j", judge_id="j", confidence=0.95, min_win_rate=0.5,
        round=1, run_id="r",
    )  # fmt: skip
    assert not decision.promoted and champion_of(store, "l") == "old"
    assert "140 without a verdict on the candidate counted as lost" in decision.reason
    [record] = store.rows("select reason, win_rate, n_prompts from gates")
    assert record["reason"] == decision.reason and record["win_rate"] < 0.3
    assert record["n_prompts"] == 200
    lost = "select count(*) n from gate_verdicts where win = 0 and candidate_score is null"
    assert store.rows(lost) == [{"n": 140}]


def test_law_13_a_move_of_the_pointer_has_a_record_that_says_so(tmp_path: Path):
    """The same candidate through a laxer gate is another record, not the old one."""
    store = open_store(tmp_path / "ws", create=True)
    store.ledger.move_pointer(champion_name("l"), "old", expect=None, reason="first")
    common = {
        "line": "l", "judge": "j", "judge_id": "j", "confidence": 0.95, "round": 1,
        "champion_id": "old", "candidate_id": "new", "champion": held(1.0), "candidate": held(1.0),
    }  # fmt: skip
    assert not gate(store, min_win_rate=0.5, run_id="a", **common).promoted
    assert gate(store, min_win_rate=0.2, run_id="b", **common).promoted
    records = store.rows("select promoted, run_id from gates order by run_id")
    assert records == [
        {"promoted": False, "run_id": "a"},
        {"promoted": True, "run_id": "b"},
    ]


def test_a_run_that_is_gone_on_with_keeps_its_rounds(tmp_path: Path):
    ledger = open_store(tmp_path / "ws", create=True).ledger
    row = {"run_id": "r", "recipe_name": "n", "recipe_id": "i", "recipe": "{}", "code_version": "0"}
    ledger.start_run({**row, "rounds": 10})
    ledger.finish_run("r", state="failed")
    ledger.start_run({**row, "rounds": 2})
    assert ledger.run("r")["rounds"] == 10


def test_law_15_no_secret_is_written(factory: Factory, monkeypatch: pytest.MonkeyPatch):
    """A key in the environment appears in no file of the workspace."""
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret-0123456789")
    from factory.recipe import load

    endpoint = "{base_url: 'http://127.0.0.1:9/v1', model: m, api_key_env: JUDGE_KEY}"
    flags = [*SMALL, f"judging.endpoints={{e: {endpoint}}}"]
    recipe = load("quickstart", overrides=flags, environ={})
    store = open_store(factory.workspace)
    with open_run(store, recipe):
        assert recipe.judging.endpoints["e"].api_keys() == ("sk-very-secret-0123456789",)
    for file in factory.workspace.rglob("*"):
        if file.is_file():
            assert b"sk-very-secret" not in file.read_bytes()
