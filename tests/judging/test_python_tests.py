"""Programs from answers: right ones pass, and hostile ones harm nobody and win nothing."""

# ruff: noqa: E501  # programs in one line

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.judging import isolate, verifiers
from factory.judging.verb import judge
from factory.judging.verifiers import python_tests
from factory.recipe.model import Judging
from factory.store import Store

SQUARE = "def f(x): return x * x\n"


def _end(program: str, *tests: str, seconds: float = 5) -> tuple[list[bool], str]:
    found = python_tests.run(
        program, tests or ("assert f(2) == 4",), seconds=seconds, memory_mb=512, disk_mb=16
    )
    assert found is not None
    return found["passed"], found["ended"]


@pytest.mark.parametrize(
    "program",
    [
        SQUARE,
        "import math, json, re, typing, heapq\nfrom collections import Counter, namedtuple\n"
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
        "def f(x): return math.isqrt(A(x).x ** 4)\n",
        "open('notes', 'w').write('mine')\ndef f(x): return len(open('notes').read()) * x // 2\n",
        "import threading\ngot = []\nt = threading.Thread(target=got.append, args=[2])\n"
        "t.start(); t.join()\ndef f(x): return got[0] * x\n",
        "print('x' * 1000)\n" + SQUARE,
        "if __name__ == '__main__':\n    " + SQUARE,
    ],
)
def test_an_ordinary_program_passes(program: str) -> None:
    assert _end(program) == ([True], "done")


HOSTILE = {
    "leaves before the tests": ("import sys; sys.exit(0)", "exited"),
    "leaves hard": ("import os; os._exit(0)", "exited"),
    "leaves within a test": ("def f(x): raise SystemExit(0)", "exited"),
    "never ends": ("while True: pass", "time_limit"),
    "ignores its alarm": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except Exception: pass\nwhile True: pass",
        "time_limit",
    ),
    "multiplies": (
        "import os\nfor _ in range(1000):\n    try: os.fork()\n    except OSError: pass\n" + SQUARE,
        None,
    ),
    "takes all memory": ("a = bytearray(10 ** 11)\n" + SQUARE, "memory_limit"),
    "takes all disk": (
        "for i in range(100):\n    open(str(i), 'wb').write(bytes(1 << 20))\n" + SQUARE,
        "raised",
    ),
    "calls home": (
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)\n" + SQUARE, "raised",
    ),
    "starts a program": ("import subprocess\nsubprocess.run(['true'])\n" + SQUARE, "raised"),
    "asks the shell": ("import os\nos.system('true')\n" + SQUARE, "raised"),
    "kills its parent": ("import os\nos.kill(os.getppid(), 9)\n" + SQUARE, "raised"),
    "reaches for C": ("import ctypes\nctypes.CDLL(None).getpid()\n" + SQUARE, "raised"),
    "equals everything": (
        "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()", "done",
    ),
    "equals everything inside a list": (
        "class E(int):\n    __module__ = 'builtins'\n    def __eq__(self, other): return True\n"
        "    __hash__ = int.__hash__\ndef f(x): return E(7)",
        "done",
    ),
    "patches the harness": (
        "import builtins, os\nbuiltins.exec = builtins.eval = lambda *a: None\n"
        "builtins.AssertionError = KeyError\nbuiltins.Exception = KeyError\n"
        "os.write = lambda *a: 17\ndef f(x): return 5",
        None,
    ),
    "writes the verdict itself": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'+' * 17)\n"
        "    except OSError: pass\nos._exit(0)",
        None,
    ),
    "does not compile": ("def f(:", "does_not_compile"),
    "nests too deep": ("(" * 5000 + ")" * 5000, "does_not_compile"),
    "recurses": ("def g(): return g()\ng()", "raised"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_program_wins_nothing(name: str) -> None:
    program, why = HOSTILE[name]
    seconds = 2 if why == "time_limit" else 20  # a busy machine is no reason to fail in another way
    passed, ended = _end(program, "assert f(2) == 4", seconds=seconds)
    if name == "multiplies":  # every fork is refused, and what is left is an ordinary program
        assert (passed, ended) == ([True], "done")
        return
    assert passed == [False]
    assert why is None or ended == why


def test_nothing_outside_the_scratch_folder_is_written_and_nothing_of_ours_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    target = tmp_path / "owned"
    program = (
        f"import os\nseen = dict(os.environ)\ntry: open({str(target)!r}, 'w').write('x')\n"
        "except OSError: pass\n"
        "try: other = open('/proc/%d/environ' % os.getppid(), 'rb').read()\nexcept OSError: other = b''\n"
        "def f(x): return len(seen), b's3cret' in other\n"
    )
    assert _end(program, "assert f(2) == (0, False)") == ([True], "done")
    assert not target.exists()


LOOKS = (
    "open({place!r}).read()",
    "os.open({place!r}, os.O_RDONLY)",
    "os.listdir({folder!r})",
    "os.scandir({folder!r})",
    "sqlite3.connect({place!r})",
)


@pytest.mark.parametrize("look", LOOKS)
def test_no_file_of_the_machine_is_read_but_pythons_own(tmp_path: Path, look: str) -> None:
    answers = tmp_path / "answers.txt"
    answers.write_text("4")
    asked = look.format(place=str(answers), folder=str(tmp_path))
    assert _end(f"import os, sqlite3\n{asked}\n{SQUARE}") == ([False], "raised")


def test_what_the_kernel_keeps_shut_no_patched_hook_opens(tmp_path: Path) -> None:
    answers = tmp_path / "answers.txt"
    answers.write_text("4")
    cage = Path(python_tests.__file__).with_name("_cage.py").read_text(encoding="utf-8")
    plain = tmp_path / "plain.py"
    plain.write_text(cage.replace("sys.addaudithook(", "str(", 1), encoding="utf-8")
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 1:
        pytest.skip("this kernel has no Landlock")
    work = tmp_path / "scratch"
    work.mkdir()
    for program, passed in ((f"open({str(answers)!r})\n" + SQUARE, False), (SQUARE, True)):
        asked = {"program": program, "tests": ["assert f(2) == 4"], "seconds": 3,
                 "memory_mb": 512, "disk_mb": 4}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", plain], input=json.dumps(asked), cwd=work, env={},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["passed"] == [passed]


PRINTS = "```\nf(2) gives 4\n```"


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{SQUARE}\n```\nIt prints:\n{PRINTS}",
        f"1. First:\n\n   ```python\n   {SQUARE}\n   ```\n",
        f"~~~py\n{SQUARE}\n~~~",
        f"```python\n{SQUARE}",
        f"````python\n{SQUARE}\n````\nand {PRINTS}",
        f"```\n{SQUARE}\n```",
        f"```f(2)```\n\n```python\n{SQUARE}\n```",
        f"```Python\r\n{SQUARE}\r\n```\r\n",
    ],
)
def test_the_program_of_an_answer_is_found_however_it_is_fenced(answer: str) -> None:
    assert _end(python_tests.program_in(answer)) == ([True], "done")


def test_a_program_leaves_no_process_behind() -> None:
    def cages() -> int:
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        return listed.stdout.count("verifiers/_cage.py")

    before = cages()
    _end(
        "import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()\n" + SQUARE
    )
    _end("while True: pass", seconds=1)
    assert cages() <= before


def test_tests_count_one_by_one_and_a_share_can_be_asked_for() -> None:
    verify = verifiers.find("python_tests")
    said = json.dumps({"tests": ["assert f(2) == 4", "assert f(3) == 9", "assert f(0) == 1"]})
    answer = f"Here it is:\n\n```python\n{SQUARE}```\n\nIt squares."
    whole = verify({"constraints": said, "args": {}}, answer)
    assert (whole.score, whole.reason) == (0.0, "test_failed")
    assert verify({"constraints": said, "args": {"partial": True}}, answer).score == pytest.approx(
        2 / 3
    )
    assert verify({"constraints": None, "args": {}}, answer).reason == "prompt_has_no_tests"
    broken = json.dumps({"tests": ["assert f(2 =="]})
    assert verify({"constraints": broken}, answer).reason == "tests_do_not_compile"


def test_what_equals_everything_wins_nothing_whichever_side_it_stands_on() -> None:
    hostile = "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()"
    assert _end(hostile, "assert 4 == f(2)", "assert [1, 2] == f(2)") == ([False, False], "done")
    assert _end(SQUARE, "assert 4 == f(2)", "assert f(1) + 3 == f(2)") == ([True, True], "done")


def test_more_memory_than_there_may_be_is_no_fault_of_the_program() -> None:
    """The verifier's own process has a limit that no cage can raise."""
    verify = verifiers.find("python_tests")
    prompt = {
        "prompt_id": "p", "messages": [], "reference": None,
        "constraints": json.dumps({"tests": ["assert f(2) == 4"]}), "args": {"memory_mb": 1 << 16},
    }  # fmt: skip
    (verdict,) = isolate.verify_all("python_tests", [(prompt, SQUARE)], timeout_s=60)
    assert verdict == verify(prompt, SQUARE)
    assert verdict.score == 1.0


def test_a_cage_that_cannot_be_closed_is_an_error_and_no_low_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = python_tests._CAGE.read_text(encoding="utf-8")

    def broken(path: Path) -> Path:
        cage = path / "cage.py"
        cage.write_text(text.replace("    os.environ.clear()\n", "    raise OSError\n"), "utf-8")
        return cage

    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(python_tests, "_CAGE", broken(Path(folder)))
        found = verifiers.find("python_tests")(
            {"constraints": json.dumps({"tests": ["assert f(2) == 4"]})}, SQUARE
        )
    assert (found.status, found.score, found.reason) == ("error", None, "the_cage_failed")


def test_a_child_that_does_not_read_holds_nobody_longer_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolate, "START_SECONDS", 0.0)
    child = isolate.Child("exact", timeout_s=0.5)

    def deaf() -> subprocess.Popen[bytes]:
        child._buffer = b""
        child._process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return child._process

    monkeypatch.setattr(child, "_start", deaf)
    assert child({}, "x" * 1_000_000).reason == "time_limit"


def test_a_text_of_many_megabytes_reaches_its_verifier_whole() -> None:
    text = "so " * 2_000_000 + "42"
    prompt = {"reference": "42", "messages": [], "args": {"contains": True}}
    (verdict,) = isolate.verify_all("exact", [(prompt, text)], timeout_s=60)
    assert verdict == verifiers.find("exact")(prompt, text)


def test_humaneval_form_calls_check_with_the_entry_point() -> None:
    said = {
        "setup": "import math\n", "entry_point": "root",
        "test": "def check(candidate):\n    assert candidate(9) == 3\n    assert candidate(16) == 4\n",
    }  # fmt: skip
    verify = verifiers.find("python_tests")
    right = "def root(x):\n    return math.isqrt(x)\n"
    assert verify({"constraints": json.dumps(said)}, right).score == 1.0
    assert (
        verify({"constraints": json.dumps(said)}, right.replace("isqrt(x)", "isqrt(x) + 1")).score
        == 0.0
    )


def test_the_judge_runs_programs_and_keeps_why_they_failed(
    store: Store, fill: Callable[..., list[str]]
) -> None:
    said = json.dumps({"tests": ["assert f(2) == 4"]})
    ids = fill(
        store, [("Square it.", [SQUARE, "import sys; sys.exit()", "no code"])], constraints=said
    )
    section = Judging(judges=("python-tests",))
    judge(store, judges=["python-tests"], completion_ids=ids, judging=section, run_id="r")
    rows = {r["completion_id"]: r for r in store.rows("select * from judgements")}
    assert [(rows[i]["score"], rows[i]["rationale"]) for i in ids] == [
        (1.0, None), (0.0, "exited"), (0.0, "does_not_compile"),
    ]  # fmt: skip


def test_the_limits_hold_where_the_kernel_gives_no_namespaces(tmp_path: Path) -> None:
    cage = Path(python_tests.__file__).with_name("_cage.py").read_text(encoding="utf-8")
    plain = tmp_path / "plain.py"
    plain.write_text(cage.replace("if libc.unshare(_NEW) != 0:", "if True:"), encoding="utf-8")
    target = tmp_path / "owned"

    def ends(program: str) -> dict[str, Any]:
        asked = {
            "program": program,
            "tests": ["assert f(2) == 4"],
            "seconds": 3,
            "memory_mb": 512,
            "disk_mb": 4,
        }
        work = tmp_path / "scratch"
        work.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", plain], input=json.dumps(asked), cwd=work, env={},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    assert ends(SQUARE) == {"passed": [True], "ended": "done", "isolated": False}
    for program in (
        "import socket\nsocket.socket()\n" + SQUARE,
        f"open({str(target)!r}, 'w')\n" + SQUARE,
        "import os\nos.fork()\n" + SQUARE,
        f"import os\nos.kill({os.getpid()}, 0)\n" + SQUARE,
    ):
        assert ends(program)["passed"] == [False]
    assert not target.exists()
