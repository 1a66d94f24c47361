"""What all tests share: their order, failures told at once, and botocore's files parsed once."""

from functools import cache
from pathlib import Path

import pytest
from botocore.loaders import JSONFileLoader

pytest.register_assert_rewrite("tests.e2e.days")

ROOT = Path(__file__).parent.parent

# Unit tests come first, so that a mistake shows within a minute. Then come the tests that take
# long: a long one at the very end would keep one processor busy and leave the others idle.
FIRST = ("tests/core/", "tests/shell/")
LONG = (
    *("tests/e2e/", "tests/packaging/", "tests/simulation/test_mutants.py"),
    *("tests/workbench/test_local.py", "tests/workbench/test_cli.py"),
)

# Each new session of botocore reads the same megabytes of JSON. Here a process reads them once.
JSONFileLoader.load_file = cache(JSONFileLoader.load_file)  # type: ignore[method-assign]


def _rank(item: pytest.Item) -> int:
    path = item.path.relative_to(ROOT).as_posix()
    if path.startswith(FIRST):
        return 0
    return 1 if path.startswith(LONG) else 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put unit tests first, long tests second and the rest last; each group keeps its order."""
    items.sort(key=_rank)


class FailuresAtOnce:
    """Prints one line for each failure when it happens; the traceback follows at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if report.failed and terminal is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            first_line = str(crash.message if crash else report.longrepr).partition("\n")[0]
            line = f"\nFAILED {report.nodeid} ({report.when}): {first_line}"
            terminal.write_line(line, red=True, bold=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin in the process that prints, not in the workers of pytest-xdist."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))
