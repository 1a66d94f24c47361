"""The port `Timing` by this machine's clock; the simulator has another one."""

import time
from datetime import UTC, datetime


class SystemTiming:
    """This machine's clock and waits."""

    def now(self) -> datetime:
        """Return this machine's time, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back, to bound waits."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        time.sleep(seconds)
