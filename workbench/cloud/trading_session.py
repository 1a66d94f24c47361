"""The session that is played: made-up bars of a real day, and a clock that real seconds move."""

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
    """Return the newest session up to `today` that is no half-day: its schedules are the usual."""
    sessions = sessions_between(today - LOOK_BACK, today).values()
    return max(
        (one for one in sessions if one.close - one.open == FULL_DAY), key=lambda one: one.day
    )


def synthetic_bars(session: Session, seed: int, symbols: int) -> Market:
    """Return the bars of the session; raises BarsError where `symbols` is out of bounds."""
    return synthetic_market(seed, symbols, session.day)


def time_of_day(session: Session, wall: str) -> datetime:
    """Return a New York time of the session's day; raises CloudError for what is none."""
    try:
        at = to_utc(session.day, wall)
    except ValueError:
        raise CloudError(f"--start {wall}: give a New York time such as 10:30") from None
    if not session.open + MINUTE <= at < session.close:
        raise CloudError(f"--start {wall}: the session is from 09:31 to 16:00")
    return at


class PacedClock:
    """Moves the exchange's time: stands at first, then a second each second."""

    def __init__(self, exchange_url: str, start: datetime) -> None:
        self._url = f"{exchange_url}/exchange/advance"
        self._ahead = timedelta(0)
        self._start = start
        self._stop = threading.Event()
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def release(self) -> None:
        """Let time go on."""
        self._thread.start()

    def leap(self, by: timedelta) -> None:
        """Let that much time pass at once: what is due in it is due late."""
        self._ahead += by

    def check(self) -> None:
        """Raise CloudError where time stands still though it should not."""
        if self._failure:
            raise CloudError(self._failure)

    def close(self) -> None:
        """Stop time, for good."""
        self._stop.set()
        if self._thread.is_alive():
            self.join()

    def join(self) -> None:
        """Wait until time has stopped, by `close` or by a failure."""
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
