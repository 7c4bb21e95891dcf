"""The house: what is shipped, what may import what, and a CI that cannot pass by skipping."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOMS = ("flows", "judges", "prompts", "recipes", "storage")


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command's result, its output as text."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def content_files(repository: Path) -> set[str]:
    """What a person edits, as paths from the repository's root."""
    return {
        path.relative_to(repository).as_posix()
        for room in ROOMS
        for path in (repository / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="session")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, cwd=repository
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return next(out.glob("prefactory-*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it, and nothing else."""
    target = tmp_path_factory.mktemp("site")
    uv = Path(sys.executable).with_name("uv")
    done = run(
        uv, "pip", "install", "--no-deps", "--offline", "--target", target, wheel, cwd=target
    )
    assert done.returncode == 0, done.stderr
    return target


def test_the_wheel_carries_every_content_file_under_factory_rooms(repository, wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"factory/_rooms/{path}" for path in content_files(repository)}
    assert expected, "the content rooms are empty"
    assert {name for name in packed if name.startswith("factory/_rooms/")} == expected


def test_the_wheel_puts_nothing_but_the_factory_into_site_packages(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"factory"}


def test_an_installed_wheel_reads_its_content_without_the_checkout(repository, installed, tmp_path):
    code = "from factory import rooms; print(rooms.__file__); print(rooms.packaged('storage'))"
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    module, storage = map(Path, done.stdout.split())
    assert module.is_relative_to(installed)
    found = {f"storage/{p.relative_to(storage).as_posix()}" for p in storage.rglob("*.sql")}
    assert found == {path for path in content_files(repository) if path.endswith(".sql")}


def test_the_rooms_of_the_wheel_are_the_rooms_of_the_code(repository):
    from factory.rooms import ROOMS as known

    hook = ast.parse((repository / "scripts" / "hatch_build.py").read_text())
    packed = next(
        ast.literal_eval(node.value)
        for node in hook.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    )
    assert sorted(packed) == sorted(known) == sorted(ROOMS)


def test_the_content_rooms_are_no_packages(repository):
    assert [path for path in content_files(repository) if path.endswith("__init__.py")] == []


def test_imports_go_one_way(repository, tmp_path):
    linter = Path(sys.executable).with_name("lint-imports")
    done = run(linter, "--no-cache", cwd=repository)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("rows.py", "import factory.store", "imports go one way"),
        ("judging/__init__.py", "import factory.sampling", "siblings do not see each other"),
        ("errors.py", "def f():\n    import prefect", "never imports the flows or Prefect"),
        ("store/store.py", "import deltalake", "only store/lake.py knows Delta Lake"),
    ],
)
def test_a_forbidden_import_is_found(repository, tmp_path, module, line, contract):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "factory", tmp_path / "factory", ignore=ignore)
    shutil.copy(repository / "pyproject.toml", tmp_path)
    with (tmp_path / "factory" / module).open("a") as file:
        file.write(f"\n{line}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = run(linter, "--no-cache", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(f"{contract}.*BROKEN", done.stdout)


def test_the_command_line_loads_no_heavy_library(tmp_path):
    heavy = ["torch", "transformers", "vllm", "trl", "datasets", "ray", "prefect", "pandas"]
    code = f"import sys, factory.cli; print([m for m in {heavy} if m in sys.modules])"
    done = run(sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-gpu.txt"])
def test_constraints_are_exact_versions_and_name_no_place(repository, name):
    lines = [
        line
        for line in (repository / name).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert len(lines) > 250
    odd = [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)]
    assert odd == []


def test_every_dependency_is_in_the_constraints_within_its_range(repository):
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = dict(
        line.split("==")
        for line in (repository / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    wanted = [*project["dependencies"], *(r for e in extras if e != "gpu" for r in extras[e])]
    wrong = [
        text
        for text in wanted
        if (pin := pins.get(canonicalize_name(Requirement(text).name))) is None
        or not Requirement(text).specifier.contains(pin)
    ]
    assert wrong == []


def test_trl_is_only_a_development_dependency(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    places = {"core": project["dependencies"], **project["optional-dependencies"]}
    having = [name for name, deps in places.items() if any(d.startswith("trl") for d in deps)]
    assert having == ["dev"]


# --- house rules ----------------------------------------------------------------------------------


def house_with(repository: Path, tmp_path: Path, **files: str) -> str:
    """What the house check says about a repository of these files (`a__b` is `a/b.py`)."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "check_house.py"
    script.write_text((repository / "scripts" / "check_house.py").read_text())
    for name, text in files.items():
        path = tmp_path / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    run("git", "init", "-q", cwd=tmp_path)
    return run(sys.executable, script, cwd=tmp_path).stdout


def test_the_house_check_finds_a_long_file_and_a_long_function(repository, tmp_path):
    body = "def long():\n" + "    pass\n" * 60
    said = house_with(
        repository, tmp_path, factory__a="x = 1\n" * 401, flows__b=body, bench__c=body
    )
    assert "factory/a.py:401: 401 lines, of 400 at most" in said
    assert "flows/b.py:1: long has 61 lines, of 60 at most" in said
    assert "bench/" not in said


def test_the_house_check_finds_machine_paths_and_registry_addresses(repository, tmp_path):
    address = "https://" + "pypi" + ".org/simple"
    said = house_with(
        repository, tmp_path, factory__a=f"u = '{address}'\n\np = '/ho" + "me/me/x'\n"
    )
    assert "factory/a.py:1: a package registry's address" in said
    assert "factory/a.py:3: a path of one machine" in said


def test_the_house_check_passes_a_clean_repository(repository, tmp_path):
    said = house_with(repository, tmp_path, factory__a="p = base / 'framework/work/x'\n")
    assert said == "house: in order\n"


# --- pytest in CI ---------------------------------------------------------------------------------


def pytest_in(repository: Path, tmp_path: Path, test: str, **env: str) -> tuple[int, str]:
    """Exit code and output of pytest over one test file, under this suite's conftest."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text((repository / "tests/conftest.py").read_text())
    (tmp_path / "tests" / "test_it.py").write_text(test)
    (tmp_path / "pyproject.toml").write_text((repository / "pyproject.toml").read_text())
    done = run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path, **env)
    return done.returncode, done.stdout


SKIPS = (
    "import pytest\n\ndef test_a(): pass\n\n@pytest.mark.skip(reason='mood')\ndef test_b(): pass\n"
)


def test_a_skipped_test_fails_the_session_in_ci(repository, tmp_path):
    code, said = pytest_in(repository, tmp_path, SKIPS, CI="true")
    assert code == 1
    assert "SKIPPED IN CI (counts as failed) tests/test_it.py::test_b: Skipped: mood" in said
    assert re.search(r"=+ 1 passed, 1 skipped in .*=+$", said.strip())


def test_a_skipped_test_is_only_reported_outside_ci(repository, tmp_path):
    assert pytest_in(repository, tmp_path, SKIPS, CI="")[0] == 0


def test_a_file_that_skips_itself_fails_the_session_in_ci(repository, tmp_path):
    skips = "import pytest\npytest.skip('no', allow_module_level=True)\n"
    code, said = pytest_in(repository, tmp_path, skips, CI="true")
    assert code != 0
    assert "tests/test_it.py" in said


def test_a_gpu_test_may_be_skipped_in_ci(repository, tmp_path):
    gpu = SKIPS.replace("@pytest.mark.skip", "@pytest.mark.gpu\n@pytest.mark.skip")
    assert pytest_in(repository, tmp_path, gpu, CI="true")[0] == 0


def test_no_collected_test_is_a_failure(repository, tmp_path):
    assert pytest_in(repository, tmp_path, "x = 1\n", CI="true")[0] == 5


def test_a_warning_is_an_error(repository, tmp_path):
    warns = "import warnings\n\ndef test_a(): warnings.warn('old', DeprecationWarning)\n"
    assert pytest_in(repository, tmp_path, warns, CI="true")[0] == 1


def test_missing_recorded_data_fails_in_ci_and_skips_elsewhere(repository, tmp_path):
    asks = "def test_a(shared_data): pass\n"
    root = tmp_path / "here"
    root.mkdir()
    code, said = pytest_in(repository, root, asks, CI="true")
    assert (code, "1 error" in said) == (1, True)
    elsewhere = tmp_path / "there"
    elsewhere.mkdir()
    code, said = pytest_in(repository, elsewhere, asks, CI="")
    assert (code, "1 skipped" in said) == (0, True)


# --- setting up -----------------------------------------------------------------------------------


def test_setup_names_the_python_it_needs(repository, tmp_path):
    done = run("make", "setup", "PYTHON=python-of-nowhere", cwd=repository)
    assert done.returncode != 0
    assert "there is no python-of-nowhere here" in done.stderr


def test_every_make_target_is_explained(repository):
    makefile = (repository / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE)
    helped = run("make", "help", cwd=repository).stdout
    assert {"setup", "run", "test", "check", "bench", "lock"} <= set(targets)
    assert [target for target in targets if f"make {target} " not in helped] == []


@pytest.fixture
def venv(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/venv.py, with its stamp in a folder of the test."""
    spec = importlib.util.spec_from_file_location("venv_script", repository / "scripts/venv.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp")
    return module


def test_setup_goes_on_without_vllm_where_its_installation_fails(venv, monkeypatch, capsys):
    asked: list[list[str]] = []

    def install(extras: list[str]) -> bool:
        asked.append(extras)
        return "cpu" not in extras

    monkeypatch.setattr(venv, "install", install)
    monkeypatch.setattr(venv, "no_vllm_here", lambda: None)
    venv.setup(["cpu", "dev"])
    assert asked == [["cpu", "dev"], ["dev"]]
    assert "the `transformers` engine will be used" in capsys.readouterr().out


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64")])
def test_setup_does_not_try_vllm_where_it_has_no_wheel(venv, monkeypatch, capsys, system, machine):
    asked: list[list[str]] = []
    monkeypatch.setattr(venv, "install", lambda extras: asked.append(extras) or True)
    monkeypatch.setattr(venv.sys, "platform", system)
    monkeypatch.setattr(venv.platform, "machine", lambda: machine)
    venv.setup(["cpu", "dev"])
    assert asked == [["dev"]]
    assert "no vLLM here" in capsys.readouterr().out


def test_setup_does_nothing_the_second_time(venv, monkeypatch, capsys):
    asked: list[list[str]] = []
    monkeypatch.setattr(venv, "install", lambda extras: asked.append(extras) or True)
    venv.setup(["dev"])
    venv.setup(["dev"])
    assert asked == [["dev"]]
    assert capsys.readouterr().out == "setup: .venv is up to date\n"
    venv.setup(["dev", "lora"])
    assert asked[1:] == [["dev", "lora"]]


def test_setup_that_cannot_install_says_what_to_type(venv, monkeypatch):
    monkeypatch.setattr(venv, "install", lambda extras: False)
    with pytest.raises(venv.Unusable) as failed:
        venv.setup(["dev"])
    assert failed.value.args[1].endswith("make setup")


def test_uv_looks_for_wheels_where_pip_was_told_to(venv, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/first /second")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    env = venv.registry_env()
    assert env["UV_FIND_LINKS"] == "/first,/second"


def test_a_cpu_torch_is_asked_for_where_no_wheels_are_given(venv, monkeypatch):
    monkeypatch.setattr(venv.sys, "platform", "linux")
    assert [options[-1] for options in venv.attempts(["cpu", "dev"], {})] == ["--torch-backend=cpu"]
    given = venv.attempts(["cpu", "dev"], {"UV_FIND_LINKS": "/wheels"})
    assert "--torch-backend=cpu" not in given[0]
