"""The real `dagster dev` through `assets.ui`, driven over GraphQL as the browser does: a round by hand, then the sensor alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.experiment import Experiment
from engine.home import Home

ROOT = Path(__file__).parent.parent.parent
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
CODE = "import sys; from assets.ui import start; sys.exit(start(sys.argv[1], port=int(sys.argv[2])))"
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
RUNS = "query { runsOrError { ... on Runs { results { runId status tags { key value } } } } }"
START = """mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) {
  __typename ... on Sensor { sensorState { status } } ... on PythonError { message } } }"""
CHECK = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } } }"""


class Client:
    """GraphQL on the page's own port."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of one query. AssertionError with the errors of the server."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def location(self) -> dict[str, str]:
        """The selector of the code location."""
        found = self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }")
        (one,) = found["repositoriesOrError"]["nodes"]
        return {"repositoryName": one["name"], "repositoryLocationName": one["location"]["name"]}


def wait(what: str, true: Callable[[], bool], seconds: float) -> None:
    """Polls until `true`; fails after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return
        time.sleep(1)
    pytest.fail(f"{what} did not happen within {seconds:.0f} seconds")


@pytest.fixture
def ui(home: Home) -> Iterator[tuple[subprocess.Popen, Client]]:
    """`assets.ui.start` in a process of its own on a free port; everything it started is gone at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home.root / "ui.log"
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", CODE, str(home.root), str(port)],
            stdout=file,
            stderr=file,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    try:
        wait("the page", lambda: f"http://127.0.0.1:{port}" in log.read_text() or child.poll() is not None, 120)
        assert child.poll() is None, log.read_text()
        yield child, Client(port)
    finally:
        started = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
        child.send_signal(signal.SIGTERM)
        child.wait(60)
        alive = psutil.wait_procs(started, timeout=20)[1]
        for process in alive:
            process.kill()
        assert not alive, f"left behind: {alive}"


@pytest.mark.slow
def test_a_round_by_hand_then_the_sensor_until_the_gate_stops_it(ui: tuple, home: Home, rewrite: Callable) -> None:
    rewrite(rounds=3)
    child, client = ui
    location = client.location()

    def closed(round_: int) -> bool:
        return Experiment.load("tiny-loop", home=home).state().closed(round_)

    def statuses() -> dict[str, str]:
        found = client.ask(RUNS)["runsOrError"]["results"]
        return {next(t["value"] for t in run["tags"] if t["key"] == "dagster/partition"): run["status"] for run in found}

    nodes = client.ask("{ assetNodes { assetKey { path } } }")["assetNodes"]
    whole_graph = {"jobName": "__ASSET_JOB", "assetSelection": [node["assetKey"] for node in nodes]}  # what "Materialize all" sends
    for partition, round_, target in (("base", -1, whole_graph), ("000", 0, {"jobName": "tiny_loop_round"})):
        params = {
            "selector": location | target,
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }
        launched = client.ask(LAUNCH, p=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = launched["run"]["runId"]
        wait(f"the run of {partition}", lambda run=run: client.ask(RUN, id=run)["runOrError"]["status"] in ENDED, 180)
        assert client.ask(RUN, id=run)["runOrError"]["status"] == "SUCCESS" and closed(round_)

    started = client.ask(START, s=location | {"sensorName": "tiny_loop_advance"})["startSensor"]
    assert started.get("sensorState", {}).get("status") == "RUNNING", started
    wait("round 001 by the sensor", lambda: closed(1), 180)
    wait("round 002 by the sensor", lambda: closed(2), 180)
    wait("the end of all runs", lambda: set(statuses().values()) == {"SUCCESS"}, 60)
    assert set(statuses()) == {"base", "000", "001", "002"}

    rewrite(rounds=5, condition="min: 2.0")
    wait("round 003 by the sensor", lambda: closed(3), 180)
    time.sleep(25)  # two ticks of the sensor in which nothing may be launched
    assert set(statuses()) == {"base", "000", "001", "002", "003"} and not closed(4)
    node = client.ask(CHECK, k={"path": ["tiny-loop", "promotion"]})["assetNodeOrError"]
    (check,) = node["assetChecksOrError"]["checks"]
    assert check["executionForLatestMaterialization"]["status"] == "FAILED"
    assert child.poll() is None
