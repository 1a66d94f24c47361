"""Processes of the functions: warm ones are used again, killed ones replaced, none outlives a day.

The workers' parent must be forked by a process without threads: the scenes of these tests are
played one after the other in a process of their own.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.days import ROOT

WITHIN_S = 120.0

HANDLERS = """
import os, time
seen = []
def pid(event, context):
    seen.append(event)
    if event.get("fails"):
        raise ValueError("no such thing")
    if event.get("lasts"):
        with open(event["lasts"], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(1e6)
    print("said")
    before = time.monotonic()
    time.sleep(0.5)
    waited = time.monotonic() - before
    return {"pid": os.getpid(), "seen": len(seen), "mine": os.environ["MINE"], "waited": waited}
"""

PRELUDE = '''
import json, os, signal, sys, threading, time
from datetime import date
from pathlib import Path
from scalper.core.session import Session
from workbench.chaos.fault_plan import KillPoint, FaultPlan
from workbench.chaos.processes import InvocationFailedError, WorkerDiedError, Workers

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
began = folder / "began"
results = {}

def invoke(within_s=60.0, **event):
    return workers.invoke("handlers.pid", event, lambda name: {"MINE": name}, within_s)

def lasting(within_s=60.0):
    """Return how an invocation ends that never answers."""
    try:
        invoke(within_s, lasts=str(began))
    except WorkerDiedError as error:
        return str(error)

def beside(task):
    thread = threading.Thread(target=task)
    thread.start()
    return thread

def alive(pid):
    return Path(f"/proc/{pid}").exists()

def until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

def lasts():
    until(lambda: began.exists() and began.read_text())
    return int(began.read_text())

def scene(name):
    global plan, workers
    began.unlink(missing_ok=True)
    plan = FaultPlan(1, Session.of(date(2024, 11, 29), "09:30", "13:00"))
    workers = Workers(plan, folder / f"{name}.log")
'''

SCENES = """
scene("warm")
results["warm"] = [invoke(), invoke()]
workers.close()
results["log"] = (folder / "warm.log").read_text()

scene("killed")
thread = beside(lambda: (lasts(), workers.kill("handlers-1", "after")))
ended = lasting()
thread.join()
first = lasts()
until(lambda: not alive(first))
results["killed"] = [ended, first, invoke(), dict(plan.kills)]
workers.close()

scene("two")
thread = beside(lasting)
lasts()
results["two"] = [invoke()["mine"]]
workers.end("handlers")
thread.join()
results["two"].append(dict(plan.kills))
workers.close()

scene("raises")
try:
    invoke(fails=True)
except InvocationFailedError as error:
    results["raises"] = [str(error), invoke()["seen"]]
workers.close()

scene("slow")
results["slow"] = [lasting(within_s=0.5), plan.faults["timed_out"]]
workers.close()

scene("kill_point")
plan.kill_point = lambda function: KillPoint(3, "before")
told = []
def requests():
    lasts()
    told.extend(workers.count_request("handlers-1") for _ in range(5))
    workers.kill("handlers-1")
thread = beside(requests)
lasting()
thread.join()
results["kill_point"] = [told, workers.count_request("handlers-1")]
workers.close()

scene("orphans")
threading.Thread(target=lasting, daemon=True).start()
results["orphans"] = [workers.parent, lasts()]
assert all(alive(pid) for pid in results["orphans"])
print(json.dumps(results), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "scenes.py").write_text(PRELUDE + SCENES)
    played = subprocess.run(
        [sys.executable, str(folder / "scenes.py"), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'functions'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert played.returncode == -9
    found: dict[str, Any] = json.loads(played.stdout)
    return found


def test_a_warm_process_is_used_again_and_has_an_environment_of_its_own(results):
    one, two = results["warm"]
    assert one["pid"] == two["pid"]
    assert (one["seen"], two["seen"], one["mine"]) == (1, 2, "handlers-1")


def test_waits_are_short_and_what_is_printed_goes_to_the_log(results):
    assert 0.008 < results["warm"][0]["waited"] < 0.4
    assert results["log"] == "said\nsaid\n"


def test_a_killed_process_ends_its_invocation_and_the_next_one_is_new(results):
    ended, first, then, kills = results["killed"]
    assert ended == "handlers.pid: the process is gone"
    assert then["pid"] != first
    assert then["mine"] == "handlers-2"
    assert kills == {"after": 1, "handlers_after": 1}


def test_of_two_invocations_at_once_each_has_a_process(results):
    assert results["two"] == ["handlers-2", {}]


def test_what_a_handler_raises_is_told_and_its_process_goes_on(results):
    assert results["raises"] == ["handlers.pid: ValueError: no such thing", 2]


def test_an_invocation_that_takes_too_long_is_ended(results):
    assert results["slow"] == ["handlers.pid: no answer within 0.5 s", 1]


def test_a_worker_is_killed_at_the_request_of_its_kill_point(results):
    assert results["kill_point"] == [["", "", "before", "", ""], ""]


def test_no_process_outlives_the_one_that_plays_the_day(results):
    deadline = time.monotonic() + WITHIN_S
    while any(Path(f"/proc/{pid}").exists() for pid in results["orphans"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
