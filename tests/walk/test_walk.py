"""The whole walk, for real, with tiny numbers: every verb through the command line."""

from __future__ import annotations

import json

from tests.walk.conftest import Factory


def test_a_run_ends_with_its_summary_and_the_next_commands(played: Factory):
    printed = played.play()
    assert "try next:" in printed
    rows = played.sql("select * from round_summary order by round")
    assert [row["round"] for row in rows] == [0, 1]
    first, second = rows
    assert first["promoted"] is True and first["win_rate"] is None
    assert second["prompts"] == 24 and second["completions"] == 96
    assert second["pairs"] > 0 and second["sft_examples"] > 0
    assert second["pairs"] + second["drops"] >= 24
    assert second["heldout_low"] <= second["heldout_rate"] <= second["heldout_high"]
    assert second["model_id"] != first["model_id"]


def test_a_second_run_does_nothing_and_says_so(played: Factory):
    before = played.sql("select count(*) n, max(created_at) t from completions")
    printed = played.play()
    assert "is finished: nothing to do" in printed
    assert played.sql("select count(*) n, max(created_at) t from completions") == before


def test_every_completion_says_which_weights_said_it(played: Factory):
    rows = played.sql(
        "select count(*) n, count(m.model_id) known, count(distinct c.model_id) models "
        "from completions c left join models m using (model_id)"
    )
    assert rows[0]["n"] == rows[0]["known"] > 0
    assert rows[0]["models"] == 2


def test_the_commands_that_look_answer(played: Factory):
    assert "quickstart" in played.run("status")
    assert json.loads(played.run("stats", "--json"))["pair_stats"]
    pair = str(played.sql("select pair_id from pairs limit 1")[0]["pair_id"])
    shown = json.loads(played.run("show", pair, "--json"))
    assert {"pairs", "completions (chosen_id)", "prompts (prompt_id)"} <= {
        r["table"] for r in shown
    }
    assert all(check["state"] != "bad" for check in json.loads(played.run("doctor", "--json")))


def test_a_wrong_table_names_the_nearest(played: Factory):
    said = played.run("sql", "select * from completion", code=1)
    assert "next:" in said and "completions" in said


def test_the_export_of_a_run_is_its_pairs(played: Factory, tmp_path):
    left = json.loads(
        played.run("export", "--format", "hf", "--out", str(tmp_path / "out"), "--json")
    )
    pairs = played.sql("select count(*) n from pairs")[0]["n"]
    assert sum(left["rows"].values()) == pairs
    assert (tmp_path / "out" / "README.md").exists()


def test_a_dry_run_prints_the_plan_and_does_nothing(factory: Factory):
    printed = factory.run("run", "quickstart", "--dry-run")
    assert "storage/strategies/" in printed and "judge toyworld" in printed
    assert factory.sql("select count(*) n from prompts")[0]["n"] == 0


def test_a_setting_of_a_later_stage_is_refused_before_anything_runs(factory: Factory):
    said = factory.run(
        "run", "quickstart", "--no-prefect", "--set", "training.dpo.lerning_rate=1", code=1
    )
    assert "training.dpo.lerning_rate" in said and "learning_rate" in said
    assert factory.sql("select count(*) n from prompts")[0]["n"] == 0


def test_a_gate_that_cannot_compare_two_models_is_refused(factory: Factory):
    said = factory.run(
        "run", "quickstart", "--no-prefect", "--set", "judging.judges=[pairwise]", code=1
    )
    assert "gate.judge" in said and "pairwise" in said


def test_an_adapter_that_no_engine_could_sample_from_is_refused(factory: Factory):
    said = factory.run(
        "run", "quickstart", "--no-prefect", "--set", "training.dpo.lora={merge: false}", code=1
    )
    assert "training.dpo.lora.merge" in said


def test_a_schedule_says_what_it_needs(factory: Factory):
    assert "schedule.cron" in factory.run("deploy", "quickstart", code=1)
    said = factory.run("deploy", "quickstart", "--set", "schedule.cron='0 2 * * *'", code=1)
    assert "Prefect server" in said and "PREFECT_API_URL" in said


def test_wrong_usage_exits_with_two(factory: Factory):
    assert "No such command" in factory.run("judg", code=2)


def test_a_directory_that_is_no_workspace_is_told_what_to_type(tmp_path):
    said = Factory(tmp_path).run("status", code=1)
    assert "is not a workspace" in said and "prefactory init" in said


def test_rollback_points_back_and_deletes_nothing(factory: Factory):
    """Law 13: promotion is reversible by a pointer move."""
    factory.play("gate.min_win_rate=0")
    rows = factory.sql("select model_id, promoted from round_summary order by round")
    starter, candidate = rows[0]["model_id"], rows[1]["model_id"]
    champion = "select value from pointers where name = 'champion:quickstart'"
    assert rows[1]["promoted"] is True
    assert factory.sql(champion)[0]["value"] == candidate
    factory.run("rollback", "--line", "quickstart")
    assert factory.sql(champion)[0]["value"] == starter
    moves = factory.sql("select new, reason from pointer_moves order by serial")
    assert [m["new"] for m in moves] == [starter, candidate, starter]
    assert factory.sql("select count(*) n from gates")[0]["n"] == 2
    assert "cannot go back" in factory.run("rollback", "--line", "quickstart", code=1)
