"""What every test shares: no network, no telemetry, and no test that is silently left out in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

# Set before any library is imported: most read these once, at import.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1",
    VLLM_NO_USAGE_STATS="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    TOKENIZERS_PARALLELISM="false",
)
# A first flow starts a temporary server, which takes over Prefect's own 20 s on a busy machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No workspace or recipe setting of the person who runs the tests reaches a test.
for _name in [name for name in os.environ if name.startswith("FACTORY_")]:
    del os.environ[_name]

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded public data beside the checkout."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        reason = f"the recorded data is not beside the checkout ({path.parent.name}/{path.name})"
        (pytest.fail if IN_CI else pytest.skip)(reason)
    return path


# --- what this machine lacks ----------------------------------------------------------------------


def _has_program(*names: str) -> bool:
    return any(shutil.which(name) for name in names)


def _has_postgres() -> bool:
    return _has_program("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


NEEDS = {
    "gpu": (lambda: Path("/dev/nvidiactl").exists(), "no CUDA device"),
    "vllm": (lambda: importlib.util.find_spec("vllm") is not None, "vLLM is not installed"),
    "postgres": (_has_postgres, "no PostgreSQL server programs"),
    "browser": (
        lambda: _has_program("chromium", "chromium-browser", "google-chrome"),
        "no Chromium",
    ),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what cannot run on this machine."""
    missing = {name: why for name, (there, why) in NEEDS.items() if not there()}
    for item in items:
        for name in missing.keys() & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=missing[name]))


# --- in CI a skipped test is a failure ------------------------------------------------------------


class NothingIsSkipped:
    """Fails the session when a test was skipped that is not marked `gpu`."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport, allowed: bool) -> None:
        """Remember a skip; an expected failure (xfail) is none."""
        if report.skipped and not allowed and not hasattr(report, "wasxfail"):
            why = report.longrepr
            reason = why[2] if isinstance(why, tuple) else str(why)
            self.skipped.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test's set-up, call or tear-down ended."""
        self.note(report, "gpu" in report.keywords)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file was collected, or skipped whole."""
        self.note(report, allowed=False)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a passing session into a failing one."""
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the tests, above pytest's own closing line."""
        for line in self.skipped:
            terminalreporter.write_line(f"SKIPPED IN CI (counts as failed) {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Watch for skips in CI, once: with xdist only the controller decides."""
    if IN_CI and not hasattr(config, "workerinput"):
        config.pluginmanager.register(NothingIsSkipped(), "nothing-is-skipped")
