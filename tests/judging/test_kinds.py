"""Kinds of judges beside those that ask a model: reward models, panels, people, revisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.errors import RecipeError, UserError
from factory.judging.front import Panel
from factory.judging.panels.rules import Member, decide, decide_pair
from factory.judging.verb import judge
from factory.recipe.model import Judging
from factory.store import Store, devices

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]


def _panel(rule: str, **more: Any) -> Panel:
    return Panel.model_validate({"members": ["a", "b", "c"], "rule": rule, **more})


VOICES = [Member(name="a", low=1, high=5), Member(name="b"), Member(name="c", low=1, high=10)]
SAID = {
    "a": {"x": 5.0, "y": 3.0, "z": 1.0},
    "b": {"x": 0.0, "y": 1.0, "z": 0.5},
    "c": {"x": 10.0, "y": 5.5, "z": 1.0},
}


@pytest.mark.parametrize(
    ("rule", "more", "scores"),
    [
        ("mean", {}, {"x": 2 / 3, "y": 2 / 3, "z": 1 / 6}),
        ("minimum", {}, {"x": 0.0, "y": 0.5, "z": 0.0}),
        ("majority", {"passes": 0.6}, {"x": 1.0, "y": 0.0, "z": 0.0}),
        ("borda", {}, {"x": 2 / 3, "y": 2 / 3, "z": 1 / 6}),
        ("first_decisive", {}, {"x": 1.0, "y": 0.5, "z": 0.0}),
    ],
)
def test_every_rule_by_hand(rule: str, more: dict[str, Any], scores: dict[str, float]) -> None:
    found = decide(_panel(rule, **more), VOICES, SAID, ["x", "y", "z"])
    assert {i: v.score for i, v in found.items()} == pytest.approx(scores)


def test_bradley_terry_orders_as_the_games_do_and_a_sweep_stays_below_one() -> None:
    said = {n: {"x": 3.0, "y": 2.0, "z": 1.0} for n in "abc"}
    voices = [Member(name=n, low=0, high=3) for n in "abc"]
    found = decide(_panel("bradley_terry"), voices, said, ["x", "y", "z"])
    x, y, z = (found[i].score or 0 for i in "xyz")
    assert 1 > x > y > z > 0
    assert y == pytest.approx(0.5)
    assert x + z == pytest.approx(1.0)


def test_weights_decide_and_a_missing_member_is_never_a_low_score() -> None:
    heavy = [Member(name="a", low=1, high=5, weight=3), *VOICES[1:]]
    found = decide(_panel("mean"), heavy, SAID, ["x"])
    assert found["x"].score == pytest.approx((3 * 1 + 0 + 1) / 5)
    part = {**SAID, "b": {"y": 1.0}}
    failing = decide(_panel("mean"), VOICES, part, ["x", "y"])
    assert (failing["x"].status, failing["x"].reason) == ("error", "member_missing")
    assert failing["y"].status == "ok"
    skipping = decide(_panel("mean", absent="skip"), VOICES, part, ["x", "y"])
    assert skipping["x"].score == pytest.approx(1.0)


@pytest.mark.parametrize("weights", [(0.1, 0.2, 0.3), (0.2, 0.7, 0.9), (0.6, 1.1, 1.7)])
def test_weights_that_are_even_are_even_whatever_their_floats_add_up_to(
    weights: tuple[float, ...],
) -> None:
    members = [Member(name=n, weight=w) for n, w in zip("abc", weights, strict=True)]
    for one in ({"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "b": 0.0, "c": 1.0}):
        for rule in ("majority", "mean"):
            spec = Panel(members=("a", "b", "c"), rule=rule)
            verdict = decide_pair(spec, members, one)
            assert (verdict.winner, verdict.p_first) == ("tie", 0.5)
        votes = decide(
            Panel(members=("a", "b", "c"), rule="majority"),
            members,
            {n: {"x": score} for n, score in one.items()},
            ["x"],
        )
        assert votes["x"].score == 0.5


def test_a_lead_that_is_just_what_is_asked_for_does_not_decide() -> None:
    spec = Panel(members=("a", "b"), rule="first_decisive", decisive=0.3)
    members = [Member(name="a", high=10.0), Member(name="b", high=10.0)]
    found = decide(spec, members, {"a": {"x": 8.0, "y": 5.0}, "b": {"x": 2.0, "y": 9.0}}, "xy")
    assert {i: v.score for i, v in found.items()} == {"x": 0.2, "y": 0.9}
    assert decide_pair(spec, members, {"a": 0.8, "b": 0.1}).winner == "second"


def test_a_pair_goes_to_the_panel_as_a_whole_or_to_nobody() -> None:
    voices = [Member(name=n) for n in "abc"]
    said = {"a": 0.9, "b": 0.4, "c": 0.5}
    assert decide_pair(_panel("mean"), voices, said).p_first == pytest.approx(0.6)
    assert decide_pair(_panel("majority"), voices, said).winner == "tie"
    assert decide_pair(_panel("minimum"), voices, said).winner == "tie"
    assert decide_pair(_panel("minimum"), voices, {"a": 0.9, "b": 0.6, "c": 0.7}).p_first == 0.6
    firm = decide_pair(_panel("first_decisive", decisive=0.2), voices, {"a": 0.6, "b": 0.1, "c": 1})
    assert firm.winner == "second"
    assert decide_pair(_panel("mean"), voices, {"a": 0.9}).reason == "member_missing"
    for rule in ("mean", "majority", "minimum"):
        turned = decide_pair(_panel(rule), voices, {n: 1 - p for n, p in said.items()})
        assert (turned.p_first or 0) == pytest.approx(
            1 - (decide_pair(_panel(rule), voices, said).p_first or 0)
        )


# --- panels in the store --------------------------------------------------------------------------

EXACT = (
    "---\nkind: verifier\ndescription: x\nverifier: regex\nverifier_args: {pattern: '%s'}\n---\n"
)


def _write(store: Store, name: str, text: str) -> None:
    folder = store.workspace / "judges"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(text)


def _says(rule: str, *members: str, more: str = "") -> str:
    return (
        f"---\nkind: panel\ndescription: x\npanel: {{members: [{', '.join(members)}], "
        f"rule: {rule}{more}}}\n---\n"
    )


def test_a_panel_reads_what_its_members_said_and_names_them(store: Store, fill: Fill) -> None:
    _write(store, "digits", EXACT % "[0-9]")
    _write(store, "short", EXACT % "^.{1,5}$")
    _write(store, "both", _says("mean", "digits", "short"))
    ids = fill(store, [("q", ["12", "twelve", "about 12"]), ("r", ["7", "it is seven"])])
    names = ["both", "digits", "short"]  # the panel is named first and speaks last
    section = Judging(judges=tuple(names))
    call: dict[str, Any] = {"judges": names, "judging": section, "run_id": "r"}
    report = judge(store, completion_ids=ids, **call)
    assert report.as_dict()["both"]["made"] == 5
    scores = store.rows(
        "select c.text, s.score, s.kind from scores s join completions c using (completion_id) "
        "where s.judge = 'both'"
    )
    assert {s["kind"] for s in scores} == {"panel"}
    assert {s["text"]: s["score"] for s in scores} == {
        "12": 1.0, "twelve": 0.0, "about 12": 0.5, "7": 1.0, "it is seven": 0.0,
    }  # fmt: skip
    row = store.rows("select * from judgements where judge = 'both' order by judgement_id")[0]
    lineage = json.loads(row["raw"])["members"]
    known = {r["judgement_id"] for r in store.rows("select judgement_id from judgements")}
    assert set(lineage) == {"digits", "short"}
    assert all(set(said["judgements"]) <= known and said["judgements"] for said in lineage.values())
    again = judge(store, completion_ids=ids, **call)
    assert again.made == 0
    assert again.as_dict()["both"]["present"] == 5


def test_a_panel_waits_for_its_members_and_then_decides_once(store: Store, fill: Fill) -> None:
    _write(store, "digits", EXACT % "[0-9]")
    _write(store, "short", EXACT % "^.{1,5}$")
    _write(store, "both", _says("minimum", "digits", "short"))
    ids = fill(store, [("q", ["12", "twelve"])])
    section = Judging(judges=("both",))

    def run(*names: str) -> dict[str, int]:
        made = judge(store, judges=names, completion_ids=ids, judging=section, run_id="r")
        return dict(made.judges[-1].statuses)

    assert run("both") == {"error": 2}
    assert run("both") == {}
    rows = store.rows("select distinct rationale from judgements where judge = 'both'")
    assert rows == [{"rationale": "member_missing"}]
    run("digits", "short")
    assert run("both") == {"ok": 2}
    assert run("both") == {}


def test_a_panel_of_comparing_judges_decides_pairs(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    import re

    def brain(body: dict[str, Any]) -> str:
        said = body["messages"][-1]["content"]
        texts = re.findall(r"<<<ANSWER [AB] [0-9a-f]{12}>>>\n(.*?)\n<<<END", said, re.DOTALL)
        longer = "A" if len(texts[0]) > len(texts[1]) else "B"
        return f"[[{longer}>>{'AB'.replace(longer, '')}]]" if "A>>B" in said else "[[A]]"

    server.brain = brain
    _write(store, "bench", _says("mean", "arena-hard", "pairwise"))
    ids = fill(store, [("q", ["short", "much longer"])])
    names = ["arena-hard", "pairwise", "bench"]
    section = judging(server.url, judges=names)
    judge(store, judges=names, completion_ids=ids, judging=section, run_id="r")
    (row,) = store.rows("select * from judgements where judge = 'bench'")
    # The one always says A, which both orders make a tie; the other prefers the longer text.
    assert row["status"] == "ok"
    assert row["winner_id"] == ids[1]
    p = row["p_first"] if row["completion_ids"][0] == ids[1] else 1 - row["p_first"]
    assert p == pytest.approx(0.75)
    won = store.rows(
        "select p from matches where judge = 'bench' and completion_id = $i", {"i": ids[1]}
    )
    assert [w["p"] for w in won] == [pytest.approx(0.75)]


def test_one_order_of_two_is_no_verdict_on_a_pair_until_the_other_is_there(store: Store) -> None:
    """The other order's call may be held, or not made yet: alone it carries the position's bias."""
    from factory.judging import files
    from factory.judging.panels.deciding import matches_of
    from factory.judging.work import source_of

    def said(first: str, second: str, p: float) -> dict[str, Any]:
        return {"completion_ids": [first, second], "p_first": p, "status": "ok"}

    both = source_of(files.load("pairwise"))
    assert matches_of(both, [said("a", "b", 1.0)], {"a", "b"}) == {("a", "b"): None}
    assert matches_of(both, [said("b", "a", 1.0)] * 2, {"a", "b"}) == {("a", "b"): None}
    heard = [said("a", "b", 1.0), said("b", "a", 0.5)]
    assert matches_of(both, heard, {"a", "b"}) == {("a", "b"): 0.75}
    text = (Path(__file__).parents[2] / "judges" / "pairwise.md").read_text()
    once = source_of(files.read(text.replace("orders: both", "orders: one"), name="once", sha="1"))
    assert matches_of(once, [said("b", "a", 1.0)], {"a", "b"}) == {("a", "b"): 0.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_says("mean", "digits", "people"), "people is of kind human"),
        (_says("mean", "digits", "reward-model"), "without a scale, which rule mean needs"),
        (_says("borda", "digits", "reward-model"), "names its weights"),
        (_says("mean", "digits", "digits"), "two members have one name"),
        (_says("mean", "digits", "short", more=", weights: {long: 2}"), "'long' is no member"),
        (_says("meen", "digits", "short"), "panel.rule: Input should be"),
        ("---\nkind: panel\ndescription: x\n---\n", "a panel judge needs `panel`"),
        ("---\nkind: human\ndescription: x\nparser: pair\n---\n", "kind human asks nobody"),
    ],
)
def test_a_panel_that_cannot_decide_says_why(store: Store, text: str, words: str) -> None:
    _write(store, "digits", EXACT % "[0-9]")
    _write(store, "short", EXACT % "^.{1,5}$")
    _write(store, "mine", text)
    with pytest.raises(UserError, match=words.replace("`", ".")):
        judge(
            store, judges=["mine"], completion_ids=[], judging=Judging(judges=("mine",)), run_id="r"
        )


def test_weights_from_agreement_need_enough_labels_by_people(store: Store, fill: Fill) -> None:
    from factory.judging.sources import source_for

    _write(store, "digits", EXACT % "[0-9]")
    _write(store, "short", EXACT % "^.{1,5}$")
    _write(store, "both", _says("mean", "digits", "short", more=", weights: agreement"))
    section = Judging(judges=("both",))
    with pytest.raises(UserError, match="there are 0"):
        source_for(store, "both", section)
    asked = [(f"q{i}", ["the answer is 12", "no" if i % 2 else "it is unknown"]) for i in range(40)]
    ids = fill(store, asked)
    judge(store, judges=["digits", "short"], completion_ids=ids, judging=section, run_id="r")
    prompts = store.rows("select completion_id, prompt_id from completions")
    prompt = {r["completion_id"]: r["prompt_id"] for r in prompts}
    store.append(
        "labels",
        [
            {
                "label_id": f"l{k}", "prompt_id": prompt[ids[k]], "annotator": "ann", "bucket": 0,
                "completion_ids": [ids[k], ids[k + 1]], "choice": "first", "winner_id": ids[k],
            }
            for k in range(0, 80, 2)
        ],
        run_id="r",
    )  # fmt: skip
    # `short` decides only half of the pairs, all of them against people: 20 are too few to say so.
    with pytest.raises(UserError, match="short both decided; there are 20"):
        source_for(store, "both", section)


def test_people_are_not_asked_by_a_program(store: Store) -> None:
    with pytest.raises(UserError, match="is a guideline") as bad:
        judge(
            store,
            judges=["people"],
            completion_ids=[],
            judging=Judging(judges=("people",)),
            run_id="r",
        )
    assert "annotate" in bad.value.next


# --- reward models --------------------------------------------------------------------------------

TEMPLATE = "{% for m in messages %}<|turn|>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence classifier of a few thousand weights, saved as users save theirs."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("rm")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<eos>": 1, "<|turn|>": 2} | {c: i + 3 for i, c in enumerate(letters)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>",
        additional_special_tokens=["<|turn|>"],
    )  # fmt: skip
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256, num_labels=1,
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_reward_models_score_is_its_raw_logit_whatever_the_batch(
    store: Store, fill: Fill, reward_model: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts = [
        "Yes.",
        "A longer answer, of several words.",
        "\u00fc\x00",
        "x" * 400,
        "<|turn|>user: hi",
    ]
    ids = fill(store, [("What?", texts)])
    section = Judging(judges=("reward-model",), models={"reward-model": str(reward_model)})
    call: dict[str, Any] = {"judges": ["reward-model"], "judging": section, "run_id": "r"}
    judge(store, completion_ids=ids, **call)
    rows = store.rows(
        "select j.*, c.text from judgements j join completions c using (completion_id)"
    )
    by_text = {r["text"]: r for r in rows}
    network = AutoModelForSequenceClassification.from_pretrained(reward_model)
    tokenizer = AutoTokenizer.from_pretrained(reward_model)
    for text in texts[:2]:
        turns = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": text}]
        shown = tokenizer.apply_chat_template(turns, tokenize=False)
        with torch.inference_mode():
            want = network(**tokenizer(shown, return_tensors="pt", add_special_tokens=False)).logits
        assert by_text[text]["score"] == pytest.approx(float(want[0, 0]), abs=1e-5)
    reasons = {r["text"][:5]: (r["status"], r["rationale"]) for r in rows if r["status"] != "ok"}
    assert reasons == {
        "xxxxx": ("error", "text_above_max_tokens"),
        "<|tur": ("error", "text_holds_special_tokens"),
    }
    assert {r["kind"] for r in rows} == {"reward_model"}
    assert judge(store, completion_ids=ids, **call).made == 0


def test_a_text_cannot_spell_a_mark_that_only_the_tokenizer_knows(
    reward_model: Path, tmp_path: Path
) -> None:
    """Marks of turns are often special without being one of the named special tokens."""
    import shutil

    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    from factory.judging.local.reward import Texts

    place = tmp_path / "marked"
    shutil.copytree(reward_model, place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.add_tokens([AddedToken("<|head|>", special=True)], special_tokens=False)
    tokenizer.save_pretrained(place)
    texts = Texts(place, most=None)
    assert "<|head|>" not in texts.tokenizer.all_special_tokens
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<|head|>user"}]
    assert texts.ids(said) == ([], "text_holds_special_tokens")


def test_a_conversation_that_no_device_can_hold_is_an_error_and_the_rest_are_scored() -> None:
    from factory.judging.local import reward

    class Texts:
        most = None

        def ids(self, conversation: Any) -> tuple[list[int], str]:
            return [1] * len(conversation[0]["content"]), ""

    def score(batch: list[list[int]]) -> list[float]:
        if any(len(ids) > 10 for ids in batch):
            raise RuntimeError("out of memory")
        return [float(len(ids)) for ids in batch]

    def said(*lengths: int) -> list[Any]:
        return [[{"role": "user", "content": "x" * n}] for n in lengths]

    for size in (1, 4):
        work = reward._by_length(Texts(), score, size=size)
        assert work(said(3, 99, 5, 98, 1)) == (
            [3.0, None, 5.0, None, 1.0], ["", "model_failed", "", "model_failed", ""],
        )  # fmt: skip
        with pytest.raises(RuntimeError, match="out of memory"):
            work(said(*range(20, 20 + reward.MOST_FAILURES)))


def test_a_reward_model_that_died_is_said_and_closing_it_hides_nothing(
    reward_model: Path, tmp_path: Path
) -> None:
    from factory.errors import StageFailed
    from factory.judging.front import Reward
    from factory.judging.rewarding import Scorer

    scorer = Scorer(reward_model, Reward(), log=tmp_path / "log")
    scorer._process.kill()
    scorer._process.wait()
    with pytest.raises(StageFailed, match="ended with"):
        scorer.score([[{"role": "user", "content": "q"}]])
    scorer.close()


def test_a_reward_model_leases_the_gpu_that_it_scores_on(
    store: Store, fill: Fill, reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.errors import LeaseHeld
    from factory.judging import rewarding

    monkeypatch.setattr(devices, "gpus", lambda: [devices.Device("device:here/only", "7")])
    seen: list[str] = []

    class Watched(rewarding.Scorer):
        def __init__(self, *args: Any, env: dict[str, str], **more: Any) -> None:
            seen.append(env["CUDA_VISIBLE_DEVICES"])
            with pytest.raises(LeaseHeld), devices.hold(store.ledger, wait_s=0.0):
                pass
            super().__init__(*args, env=env, **more)

    monkeypatch.setattr(rewarding, "Scorer", Watched)
    section = Judging(judges=("reward-model",), models={"reward-model": str(reward_model)})
    ids = fill(store, [("What?", ["Yes."])])
    made = judge(store, judges=["reward-model"], judging=section, run_id="r", completion_ids=ids)
    assert (made.made, seen) == (1, ["7"])
    with devices.hold(store.ledger, wait_s=0.0):
        pass


def test_law_2_other_weights_under_the_same_path_are_another_judge(
    store: Store, reward_model: Path, tmp_path: Path
) -> None:
    import shutil

    from factory.judging.sources import source_for

    place = tmp_path / "here"
    shutil.copytree(reward_model, place)

    def identity(path: Path) -> str:
        section = Judging(judges=("reward-model",), models={"reward-model": str(path)})
        return source_for(store, "reward-model", section).judge_id

    first = identity(place)
    assert identity(reward_model) == first
    weights = bytearray((place / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (place / "model.safetensors").write_bytes(bytes(weights))
    assert identity(place) != first
    (place / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no model"):
        identity(place)


def test_a_reward_model_that_cannot_score_says_why(
    store: Store, fill: Fill, reward_model: Path, tmp_path: Path
) -> None:
    import shutil

    place = tmp_path / "silent"
    shutil.copytree(reward_model, place)
    (place / "chat_template.jinja").unlink()
    ids = fill(store, [("q", ["a"])])
    section = Judging(judges=("reward-model",), models={"reward-model": str(place)})
    with pytest.raises(UserError, match="no chat template"):
        judge(store, judges=["reward-model"], completion_ids=ids, judging=section, run_id="r")
    with pytest.raises(RecipeError, match="names its weights"):
        judge(
            store, judges=["reward-model"], completion_ids=ids,
            judging=Judging(judges=("reward-model",)), run_id="r",
        )  # fmt: skip


# --- critique and revise --------------------------------------------------------------------------


def _revised(body: dict[str, Any]) -> str:
    if "<<<REVISION>>>" not in body["messages"][-1]["content"]:
        return "Rating: 3\nRationale: fine."
    shown = body["messages"][-1]["content"].split("<<<ANSWER ")[1].split(">>>\n", 1)[1]
    text = shown.split("\n<<<END")[0]
    new = text if "good" in text else f"{text}, mended"
    return f"<<<CRITIQUE>>>\nIt lacks a source.\nRating: 2\n<<<REVISION>>>\n{new}\n<<<END>>>"


def test_a_revision_becomes_a_candidate_with_its_parent_and_is_judged_as_the_others_are(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.brain = _revised
    ids = fill(store, [("q", ["bad one", "good one"]), ("r", ["bad two"])])
    names = ["safety", "critique-revise"]  # who writes speaks first, whatever the order
    section = judging(server.url, judges=names)
    call: dict[str, Any] = {"judges": names, "judging": section, "run_id": "r"}

    def tokenise(model_id: str, messages: Any, text: str) -> tuple[list[int], list[int]]:
        assert model_id == "secret-model"
        return [len(messages)], [ord(c) for c in text]

    judge(store, completion_ids=ids, tokenise=tokenise, **call)
    made = store.rows("select * from completions where origin = 'revised' order by text")
    assert [(r["text"], r["finish_reason"], r["retokenised"]) for r in made] == [
        ("bad one, mended", "stop", True), ("bad two, mended", "stop", True),
    ]  # fmt: skip
    assert {r["revises_id"] for r in made} == {ids[0], ids[2]}
    assert made[0]["token_ids"] == [ord(c) for c in "bad one, mended"]
    (model,) = store.rows("select * from models")
    assert (model["name"], model["kind"]) == ("the-judge-0001", "judge")
    rated = store.rows("select score, rationale from judgements where judge = 'critique-revise'")
    assert len(rated) == 3
    assert {(r["score"], r["rationale"]) for r in rated} == {(2.0, "It lacks a source.\nRating: 2")}
    judged = store.rows("select completion_id from judgements where judge = 'safety'")
    assert {r["completion_id"] for r in judged} == {*ids, *(r["completion_id"] for r in made)}
    assert judge(store, completion_ids=ids, tokenise=tokenise, **call).made == 0
    assert len(store.rows("select * from completions")) == 5


@pytest.mark.parametrize(
    "text",
    [
        "<<<CRITIQUE>>>\nRating: 2\n<<<REVISION>>>\n\n<<<END>>>",
        "<<<CRITIQUE>>>\nRating: 2\n<<<REVISION>>>\nnew",
        "<<<REVISION>>>\nnew\n<<<CRITIQUE>>>\nRating: 2\n<<<END>>>",
        "<<<CRITIQUE>>>\nRating: 2\n<<<REVISION>>>\nnew\n<<<END>>>\n<<<END>>>",
        "<<<CRITIQUE>>>\nno mark\n<<<REVISION>>>\nnew\n<<<END>>>",
    ],
)
def test_half_a_revision_is_none(
    store: Store, fill: Fill, judging: Section, server: Any, text: str
) -> None:
    server.brain = lambda body: text
    ids = fill(store, [("q", ["a"])])
    section = judging(server.url, judges=["critique-revise"])
    judge(store, judges=["critique-revise"], completion_ids=ids, judging=section, run_id="r")
    rows = store.rows("select status, raw from judgements")
    assert {r["status"] for r in rows} == {"unparsed"}
    assert store.rows("select * from completions where origin = 'revised'") == []


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_gives_the_logits_that_transformers_gives(
    tmp_path: Path, reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.judging.front import Reward
    from factory.judging.rewarding import Scorer

    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    asked = [
        [{"role": "user", "content": "What?"}, {"role": "assistant", "content": text}]
        for text in ("Yes.", "A longer answer, of words.", "<|turn|>x", "z" * 400)
    ]

    def said(engine: str) -> list[Any]:
        spec = Reward.model_validate({"engine": engine, "dtype": "float32"})
        scorer = Scorer(reward_model, spec, log=tmp_path / f"{engine}.log")
        try:
            verdicts = scorer.score(asked)
        finally:
            scorer.close()
        return [v.reason or v.score for v in verdicts]

    one, other = said("vllm"), said("transformers")
    assert one[:2] == pytest.approx(other[:2], abs=1e-4)
    assert one[2:] == other[2:] == ["text_holds_special_tokens", "text_above_max_tokens"]
