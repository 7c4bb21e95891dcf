"""Published data goes in, its published numbers come out of SQL, and pairs of it train in TRL."""

from __future__ import annotations

import csv

import pytest

from factory.exporting import export, freeze
from factory.pairing import Scope, build_pairs, build_sft
from factory.prompting.imports import import_completions, import_judgements
from factory.prompting.ingest import add_prompts
from factory.prompting.mapping import load
from factory.store import open_store

BASELINES = {"alpaca_eval_gpt4": "text_davinci_003"}
AE2 = "weighted_alpaca_eval_gpt4_turbo"


@pytest.fixture(scope="module")
def alpaca(shared_data, tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("alpaca") / "ws", create=True)
    common = {"pool": "alpaca_eval", "run_id": "r", "gate": 0.0, "dev": 0.0}
    add_prompts(
        store, shared_data / "alpaca_eval_prompts.parquet", mapping=load("alpaca_eval_prompts"),
        **common,
    )  # fmt: skip
    import_completions(
        store, [shared_data / "alpaca_eval_outputs_dev.parquet"],
        mapping=load("alpaca_eval_outputs"), **common,
    )  # fmt: skip
    import_judgements(
        store, [shared_data / "alpaca_eval_judgments_dev.parquet"],
        mapping=load("alpaca_eval_judgements"), **common,
    )  # fmt: skip
    return store


def test_win_rates_are_alpaca_evals(alpaca, shared_data):
    with (shared_data / "alpaca_eval_leaderboard_dev.csv").open() as handle:
        published = {(r["annotator"], r["model"]): r for r in csv.DictReader(handle)}
    against_baseline = {
        (r["judge"], r["model"]): r
        for r in alpaca.rows("select * from head_to_head")
        if r["opponent"] == BASELINES.get(r["judge"], "gpt4_1106_preview")
    }
    overall = {(r["judge"], r["model"]): r for r in alpaca.rows("select * from win_rates")}
    compared = set(against_baseline) & set(published)
    assert len(compared) == 22
    for key in compared:
        row, said = against_baseline[key], published[key]
        assert 100 * row["win_rate"] == pytest.approx(float(said["win_rate"]), abs=1e-6)
        assert row["n"] == float(said["n_total"])
        for mine, theirs in (("wins", "n_wins"), ("losses", "n_wins_base"), ("draws", "n_draws")):
            assert row[mine] == float(said[theirs] or row[mine])
        assert 100 * row["standard_error"] == pytest.approx(float(said["standard_error"]), abs=1e-6)
        if row["opponent"] != row["model"]:
            assert overall[key]["win_rate"] == pytest.approx(row["win_rate"], abs=1e-12)
            assert overall[key]["standard_error"] == pytest.approx(row["standard_error"], abs=1e-9)


def test_pairs_prefer_what_the_judge_preferred_and_are_never_two_equal_texts(alpaca):
    report = build_pairs(
        alpaca, strategy="margin", scope=Scope(pools=("alpaca_eval",), judges=(AE2,)),
        params={"min_margin": 0.2}, run_id="made",
    )  # fmt: skip
    again = build_pairs(
        alpaca, strategy="margin", scope=Scope(pools=("alpaca_eval",), judges=(AE2,)),
        params={"min_margin": 0.2}, run_id="made",
    )  # fmt: skip
    assert report.prompts == 805 and (again.pairs, again.added) == (report.pairs, 0)
    assert report.pairs == alpaca.rows(
        "select count(*) as n from pairs where strategy_id = $s", {"s": report.strategy_id}
    )[0]["n"]  # fmt: skip
    wrong = alpaca.rows(
        "with s as materialized (select completion_id, score from scores where judge = $judge) "
        "select p.pair_id from pairs p "
        "join completions c on c.completion_id = p.chosen_id "
        "join completions r on r.completion_id = p.rejected_id "
        "join s x on x.completion_id = p.chosen_id "
        "join s y on y.completion_id = p.rejected_id "
        "where c.text = r.text or x.score - y.score < 0.2 or c.prompt_id <> r.prompt_id",
        {"judge": AE2},
    )
    assert wrong == [] and report.pairs > 2_000
    [said] = alpaca.rows(
        "select mean_len_diff from pair_stats where strategy_id = $s", {"s": report.strategy_id}
    )
    assert said["mean_len_diff"] is not None


def test_gsm8k_gives_pairs_where_solutions_differ_and_sft_where_one_is_right(shared_data, tmp_path):
    store = open_store(tmp_path / "ws", create=True)
    common = {"pool": "gsm8k", "run_id": "r", "gate": 0.0, "dev": 0.0}
    add_prompts(store, shared_data / "gsm8k_test.jsonl.gz", mapping=load("gsm8k"), **common)
    import_completions(
        store, [shared_data / "gsm8k_model_solutions.parquet"], mapping=load("gsm8k_solutions"),
        **common,
    )  # fmt: skip
    scope = Scope(judges=("published",))
    pairs = build_pairs(store, strategy="verified", scope=scope, run_id="r", round=1)
    sft = build_sft(
        store, strategy="best_of_n", scope=scope, run_id="r", round=1, params={"min_score": 1.0}
    )
    assert (pairs.pairs, sft.pairs) == (731, 887)
    assert pairs.dropped == {"tie": 1319 - 731} and sft.dropped == {"below_min_score": 1319 - 887}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what TRL and its libraries warn of is not ours to mend
def test_an_export_trains_in_trl_unchanged(alpaca, tmp_path):
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    model = tiny_model(tmp_path / "model")
    args = {
        "output_dir": str(tmp_path / "trained"), "max_steps": 2, "max_length": 128,
        "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True, "logging_steps": 1,
    }  # fmt: skip
    for kind, build, strategy in (
        ("preference", build_pairs, "best_vs_worst"), ("sft", build_sft, "best_of_n"),
    ):  # fmt: skip
        report = build(alpaca, strategy=strategy, scope=Scope(judges=(AE2,)), run_id="trl")
        version = freeze(
            alpaca, kind=kind, strategy_id=report.strategy_id, name=kind, recipe_id="",
            run_id="trl",
        )  # fmt: skip
        out = tmp_path / kind
        done = export(alpaca, version, format="hf", out=out, test_share=0.1)
        assert "CC" in (out / "README.md").read_text() and version.n_trainable == 0
        loaded = datasets.load_from_disk(str(out))
        assert {s: len(d) for s, d in loaded.items()} == done.rows
        few = loaded["train"].select(range(6))
        made, config = (
            (trl.DPOTrainer, trl.DPOConfig) if kind == "preference" else
            (trl.SFTTrainer, trl.SFTConfig)
        )  # fmt: skip
        trainer = made(model=str(model), args=config(**args), train_dataset=few)
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        assert trainer.state.global_step == 2 and len(losses) == 2


def tiny_model(path):
    """A two-layer Llama over bytes, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    specials = ["<pad>", "<eos>", "<user>", "<assistant>", "<system>"]
    letters = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(letters)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(specials)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<eos>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(path)
    config = LlamaConfig(
        vocab_size=len(letters), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, eos_token_id=1,
        bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path
