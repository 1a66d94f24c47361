"""The time an invocation goes by; the simulator has one of its own."""

import time
from datetime import UTC, datetime


class SystemTiming:
    """The machine's own."""

    def now(self) -> datetime:
        """Return this machine's time, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only rise, to bound waits by."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
