"""What a check finds: a line that is OK, WARN or FAIL, and what to do about it.

Each check stands alone: what keeps one from being made is a line of its own, and the rest go on.
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
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    check: str
    level: Level
    text: str
    todo: str = ""
    """What to do; empty where nothing is to be done."""


def ok(check: str, text: str) -> Finding:
    """Return a line that all is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, todo: str) -> Finding:
    """Return a line that something may be wrong."""
    return Finding(check, Level.WARN, text, todo)


def fail(check: str, text: str, todo: str) -> Finding:
    """Return a line that something is wrong."""
    return Finding(check, Level.FAIL, text, todo)


class AlreadyReportedError(Exception):
    """Something that a check needs could not be had, and a line says so already."""


class AskOnce(Generic[T]):
    """A question that is asked once; who asks again gets the same answer.

    Where it failed, the first to ask gets the error, and the others AlreadyReportedError.
    """

    def __init__(self, what: str, ask: Callable[[], T]) -> None:
        self._what = what
        self._ask = ask
        self._answers: list[T] = []
        self._failed = False

    def __call__(self) -> T:
        """Return the answer; raises what asking raised, or AlreadyReportedError."""
        if self._failed:
            raise AlreadyReportedError(f"no {self._what}")
        if not self._answers:
            self._failed = True
            self._answers.append(self._ask())
            self._failed = False
        return self._answers[0]

    def again(self) -> T:
        """Ask anew; raises what asking raises."""
        self._answers = [self._ask()]
        return self._answers[0]


Check = Callable[[], Iterable[Finding]]


def run_checks(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """Return what the checks find, in their order; `checks` are their names and themselves."""
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
                    "put the keys of this very account, paper or live, into the broker's secret",
                )
            )
        except ScalperError as error:
            findings.append(fail(name, str(error), "settle this, then run the doctor again"))
        except (BotoCoreError, ClientError) as error:
            findings.append(fail(name, aws_line(error), "settle this, then run the doctor again"))
        except RequestException as error:
            text = f"no answer: {type(error).__name__}"
            findings.append(fail(name, text, "see whether this machine reaches the internet"))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            text = f"an answer that cannot be read: {error!r}"
            findings.append(fail(name, text, "run the doctor again; if it stays, report it"))
    return findings
