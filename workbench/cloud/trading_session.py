"""The session that the emulated stack trades: synthetic bars of a real day, at real speed."""

import threading
import time
from datetime import date, datetime, timedelta

import httpx

from scalper.core.session import MINUTE, Session, to_utc
from workbench.cloud.errors import CloudError
from workbench.market.model import Market, sessions_between
from workbench.market.synthetic import synthetic_market

FULL_DAY = timedelta(hours=6, minutes=30)
LOOK_BACK = timedelta(days=10)
STEP_S = 0.25
ANSWER_WITHIN_S = 10.0


def latest_full_session(today: date) -> Session:
    """Return the newest session up to `today` that is not a half-day."""
    sessions = sessions_between(today - LOOK_BACK, today).values()
    return max(
        (one for one in sessions if one.close - one.open == FULL_DAY), key=lambda one: one.day
    )


def synthetic_bars(session: Session, seed: int, symbols: int) -> Market:
    """Return bars of the session; raises BarsError if there are too few or too many symbols."""
    return synthetic_market(seed, symbols, session.day)


def time_of_day(session: Session, wall: str) -> datetime:
    """Return the time of a New York wall clock in the session; raises CloudError for another."""
    try:
        at = to_utc(session.day, wall)
    except ValueError:
        raise CloudError(f"--start {wall}: give a New York time such as 10:30") from None
    if not session.open + MINUTE <= at < session.close:
        raise CloudError(f"--start {wall}: the session is from 09:31 to 16:00")
    return at


class PacedClock:
    """Moves the exchange's time: it stands until `release`, then one second takes one second."""

    def __init__(self, exchange_url: str, start: datetime) -> None:
        self._url = f"{exchange_url}/exchange/advance"
        self._ahead = timedelta(0)
        self._start = start
        self._stop = threading.Event()
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def release(self) -> None:
        """Start to move the time."""
        self._thread.start()

    def leap(self, by: timedelta) -> None:
        """Skip so much time at once. Schedules that are due in it fire late."""
        self._ahead += by

    def check(self) -> None:
        """Raise CloudError if the exchange's time could not be moved."""
        if self._failure:
            raise CloudError(self._failure)

    def close(self) -> None:
        """Stop the time for good."""
        self._stop.set()
        if self._thread.is_alive():
            self.join()

    def join(self) -> None:
        """Wait until the time has stopped, by `close` or by a failure."""
        self._thread.join(ANSWER_WITHIN_S + STEP_S)

    def _run(self) -> None:
        began = time.monotonic()
        with httpx.Client(trust_env=False, timeout=ANSWER_WITHIN_S) as http:
            while not self._stop.wait(STEP_S):
                passed = timedelta(seconds=time.monotonic() - began)
                to = self._start + self._ahead + passed
                try:
                    http.post(self._url, json={"to": to.isoformat()}).raise_for_status()
                except httpx.HTTPError as error:
                    self._failure = f"the exchange's clock does not move: {error}"
                    return
