"""What a check finds: a line that is OK, WARN or FAIL, and what to do about it.

Each check stands alone. If one cannot be done, a line says why, and the others go on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from requests import RequestException

from scalper.shell.errors import ScalperError, UnauthorizedError
from workbench.operate.deployed_stack import aws_line

T = TypeVar("T")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor."""

    check: str
    level: Level
    text: str
    todo: str = ""
    """What the reader has to do; empty if nothing."""


def ok(check: str, text: str) -> Finding:
    """Return a line that says all is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, todo: str) -> Finding:
    """Return a line that says something may be wrong."""
    return Finding(check, Level.WARN, text, todo)


def fail(check: str, text: str, todo: str) -> Finding:
    """Return a line that says something is wrong."""
    return Finding(check, Level.FAIL, text, todo)


class AlreadyReportedError(Exception):
    """A check needs an answer that failed before, and an earlier line reports that failure."""


class AskOnce(Generic[T]):
    """A request that is sent once; later callers get the same answer.

    If it fails, the first caller gets the error, and later callers get AlreadyReportedError.
    """

    def __init__(self, what: str, ask: Callable[[], T]) -> None:
        self._what = what
        self._ask = ask
        self._answers: list[T] = []
        self._failed = False

    def __call__(self) -> T:
        """Return the answer; raises what the request raised, or AlreadyReportedError."""
        if self._failed:
            raise AlreadyReportedError(f"no {self._what}")
        if not self._answers:
            self._failed = True
            self._answers.append(self._ask())
            self._failed = False
        return self._answers[0]

    def again(self) -> T:
        """Send the request again; raises what it raises."""
        self._answers = [self._ask()]
        return self._answers[0]


Check = Callable[[], Iterable[Finding]]


def run_checks(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """Return the findings of named checks, in the order of the checks."""
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except AlreadyReportedError as error:
            findings.append(warn(name, f"not checked: {error}", "see the line that failed above"))
        except UnauthorizedError:
            findings.append(
                fail(
                    name,
                    "the broker refuses the keys (401)",
                    "put the keys of this paper or live account into the broker's secret",
                )
            )
        except ScalperError as error:
            findings.append(fail(name, str(error), "solve this, then run the doctor again"))
        except (BotoCoreError, ClientError) as error:
            findings.append(fail(name, aws_line(error), "solve this, then run the doctor again"))
        except RequestException as error:
            text = f"no answer: {type(error).__name__}"
            findings.append(fail(name, text, "check that this machine reaches the internet"))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            text = f"the answer cannot be read: {error!r}"
            findings.append(fail(name, text, "run the doctor again; if it stays, report it"))
    return findings
