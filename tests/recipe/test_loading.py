"""A recipe's errors name the file, the line, the field, what was expected and the nearest name."""

from pathlib import Path

import pytest

from factory.errors import RecipeError, UserError
from factory.recipe import load, workspace_config

GOOD = """\
name: small
prompts:
  pools:
    - {name: p, files: [a.jsonl]}
policy: {model: somewhere}
judging: {judges: [toyworld]}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text)
    return str(path)


def test_the_packaged_recipes_load():
    for name in ("quickstart", "llm-judge"):
        assert load(name, environ={}).name == name


def test_a_misspelt_field_names_line_and_nearest_name(tmp_path):
    path = write(tmp_path, GOOD + "sampling:\n  n: 4\n  temprature: 0.7\n")
    with pytest.raises(RecipeError) as error:
        load(path, environ={})
    said = str(error.value)
    assert "r.yaml line 9" in said
    assert "sampling.temprature" in said
    assert "did you mean 'temperature'?" in said
    assert error.value.next == f"edit {path}"


def test_a_misspelt_field_in_a_list_names_its_place(tmp_path):
    path = write(tmp_path, GOOD.replace("files: [a.jsonl]", "file: [a.jsonl]"))
    with pytest.raises(RecipeError, match=r"line 4.*prompts\.pools\.0.*did you mean 'files'"):
        load(path, environ={})


def test_a_wrong_value_says_what_was_expected_and_given(tmp_path):
    path = write(tmp_path, GOOD + "sampling: {n: many}\n")
    with pytest.raises(RecipeError, match=r"sampling\.n: .*integer.*given 'many'"):
        load(path, environ={})


@pytest.mark.parametrize("limit", ["max_model_len: 1024", "settings: {max_model_len: 512}"])
def test_a_context_without_room_for_a_prompt_is_refused(tmp_path, limit):
    path = write(tmp_path, GOOD + f"sampling: {{{limit}}}\n")
    with pytest.raises(RecipeError, match=r"sampling\.max_tokens is 1024, which leaves no room"):
        load(path, environ={})


def test_a_pool_needs_exactly_one_source(tmp_path):
    path = write(tmp_path, GOOD.replace("files: [a.jsonl]", "files: [a.jsonl], make: toyworld"))
    with pytest.raises(RecipeError, match="exactly one of files, dataset, make"):
        load(path, environ={})


def test_a_judge_that_is_not_listed_is_refused(tmp_path):
    path = write(tmp_path, GOOD + "gate: {judge: other}\n")
    with pytest.raises(RecipeError, match=r"gate\.judge: 'other' is not one of judging\.judges"):
        load(path, environ={})


def test_broken_yaml_names_the_line(tmp_path):
    with pytest.raises(RecipeError, match=r"line 3: not YAML"):
        load(write(tmp_path, "name: x\nprompts:\n  - a: }\n"), environ={})


def test_flags_win_over_the_environment_over_the_file(tmp_path):
    path = write(tmp_path, GOOD + "sampling: {n: 2, temperature: 0.5}\n")
    found = load(
        path,
        environ={"FACTORY__SAMPLING__N": "3", "FACTORY__SAMPLING__TOP_P": "0.9", "OTHER": "1"},
        overrides=["sampling.n=5"],
    )
    assert (found.sampling.n, found.sampling.top_p, found.sampling.temperature) == (5, 0.9, 0.5)


def test_a_flag_without_a_value_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="expected field=value"):
        load(write(tmp_path, GOOD), environ={}, overrides=["sampling.n"])


def test_an_unknown_recipe_names_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        load("quikstart", environ={})


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load(str(tmp_path / "absent.yaml"), environ={})


def test_how_often_and_when_do_not_change_what_a_recipe_is(tmp_path):
    path = write(tmp_path, GOOD)
    base = load(path, environ={})
    again = load(path, environ={}, overrides=["rounds=7", "schedule.cron='0 2 * * *'"])
    other = load(path, environ={}, overrides=["seed=1"])
    assert base.run_id == again.run_id
    assert base.run_id != other.run_id


def test_a_key_is_read_from_the_named_variable_and_never_kept(tmp_path, monkeypatch):
    endpoint = "{base_url: 'http://127.0.0.1:1/v1', model: m, api_key_env: SOME_KEY}"
    path = write(tmp_path, GOOD.replace("toyworld]", f"toyworld], endpoints: {{e: {endpoint}}}"))
    found = load(path, environ={})
    with pytest.raises(RecipeError, match="SOME_KEY is not set"):
        found.judging.endpoints["e"].api_keys()
    monkeypatch.setenv("SOME_KEY", "s3cret")
    assert found.judging.endpoints["e"].api_keys() == ("s3cret",)
    assert "s3cret" not in found.model_dump_json()


def test_the_environment_overrides_the_workspace_file(tmp_path):
    (tmp_path / "workspace.yaml").write_text("ledger: postgresql://a/b\n")
    assert workspace_config(tmp_path, environ={}).ledger == "postgresql://a/b"
    found = workspace_config(tmp_path, environ={"FACTORY_LEDGER": "sqlite:///x"})
    assert found.ledger == "sqlite:///x"


def test_an_unknown_workspace_setting_is_refused(tmp_path):
    (tmp_path / "workspace.yaml").write_text("leger: x\n")
    with pytest.raises(RecipeError, match="leger"):
        workspace_config(tmp_path, environ={})


def test_a_secret_in_a_url_is_refused_and_not_repeated(tmp_path):
    endpoint = "{base_url: 'https://user:s3cret@host/v1', model: m}"
    path = write(tmp_path, GOOD.replace("toyworld]", f"toyworld], endpoints: {{e: {endpoint}}}"))
    with pytest.raises(RecipeError, match="api_key_env") as error:
        load(path, environ={})
    assert "s3cret" not in str(error.value)
