"""Many chaos days, some at once, each in a process of its own; and their figures."""

import importlib
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from workbench.chaos import day
from workbench.chaos.day import ChaosOptions, ChaosResult
from workbench.servers import aws
from workbench.template.declared import functions

DAY_WITHIN_S = 600.0
"""A day that takes longer is ended, and counts as a violation."""

SERVICES = ("dynamodb", "sqs", "secretsmanager", "sns")

_FORK = multiprocessing.get_context("fork")


def preload() -> None:
    """Import what every day and every function needs: processes are forked from this one."""
    import boto3
    import moto.dynamodb.models
    import moto.secretsmanager.models
    import moto.sns.models
    import moto.sqs.models  # noqa: F401 - each day uses them
    from moto.moto_server.werkzeug_app import create_backend_app

    aws.use_endpoint("http://127.0.0.1:9")
    make_client: Any = boto3.client
    make_backend: Any = create_backend_app
    for service in SERVICES:
        make_client(service)
        make_backend(service)
    for name in functions():
        importlib.import_module(name)


def play_days(
    first: int,
    days: int,
    *,
    jobs: int,
    logs: Path | None = None,
    options: ChaosOptions | None = None,
    tell: Callable[[ChaosResult], None] = lambda _: None,
) -> list[ChaosResult]:
    """Play the days of the seeds from `first` on, `jobs` at once; return them by seed.

    `logs` keeps a log for each seed. This process may have no other thread: it is forked.
    """
    preload()
    with ExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        ended = []
        for one in _played(deque(range(first, first + days)), jobs, folder, options):
            tell(one)
            ended.append(one)
    return sorted(ended, key=lambda one: one.seed)


def _played(
    seeds: deque[int], jobs: int, folder: Path, options: ChaosOptions | None
) -> Iterator[ChaosResult]:
    """Yield the days as they end."""
    running: dict[Connection, tuple[int, Any, float]] = {}
    while seeds or running:
        while seeds and len(running) < jobs:
            seed = seeds.popleft()
            ours, theirs = _FORK.Pipe(duplex=False)
            log = folder / f"{seed}.log"
            process = _FORK.Process(target=_play, args=(seed, log, options, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = (seed, process, time.monotonic() + DAY_WITHIN_S)
        ready = wait(list(running), timeout=1.0)
        late = [one for one, (_, _, until) in running.items() if time.monotonic() > until]
        for connection in {*ready, *late}:
            assert isinstance(connection, Connection)
            seed, process, _ = running.pop(connection)
            yield _result(seed, connection, process)


def _result(seed: int, connection: Connection, process: Any) -> ChaosResult:
    """Return what a day's process answered; no answer is a violation."""
    try:
        if connection.poll():
            return ChaosResult(**json.loads(connection.recv_bytes()))
        why = f"it took longer than {DAY_WITHIN_S:g} s"
    except EOFError:
        why = "its process ended"
    finally:
        process.kill()
        process.join()
        connection.close()
    return ChaosResult(seed, violations=[f"the day did not end: {why}"])


def _play(seed: int, log: Path, options: ChaosOptions | None, connection: Connection) -> None:
    log.unlink(missing_ok=True)
    ended = day.play(seed, log, options)
    connection.send_bytes(json.dumps(asdict(ended)).encode())
    connection.close()
    # No thread that still runs matters any more.
    os._exit(0)


def figures(ended: list[ChaosResult], seconds: float) -> dict[str, Any]:
    """Return the figures of the days, as JSON has them."""
    faults, kills, halts = Counter[str](), Counter[str](), Counter[str]()
    for one in ended:
        faults.update(one.faults)
        kills.update(one.kills)
        halts.update(one.halts)
    return {
        "days": len(ended),
        "first": ended[0].seed,
        "seconds": round(seconds, 1),
        "day_seconds": round(sum(one.seconds for one in ended) / len(ended), 1),
        "minutes": sum(one.minutes for one in ended),
        "requests": sum(one.requests for one in ended),
        "orders": sum(one.orders for one in ended),
        "trades": sum(one.trades for one in ended),
        "faults": dict(sorted(faults.items())),
        "kills": dict(sorted(kills.items())),
        "halts": dict(sorted(halts.items())),
        "violations": [
            {"seed": one.seed, "what": what} for one in ended for what in one.violations
        ],
    }
