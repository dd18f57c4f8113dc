"""Starts Dagster's UI, daemon and code server on the home's own instance, and ends them with itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import FrameType

import dagster

import assets
from assets.reconcile import instance_of, reconcile
from engine.errors import RondoError
from engine.experiment import Experiment
from engine.home import Home

GRACE = 30.0  # seconds for Dagster to end by itself before it is killed
SETTINGS = """\
# Written by `rondo ui` where it was missing; change it freely.
nux:
  enabled: false
telemetry:
  enabled: false
run_monitoring:
  enabled: true
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
concurrency:
  runs:
    tag_concurrency_limits:
      - key: rondo/experiment
        value:
          applyLimitPerUniqueValue: true
        limit: 1
"""


def start(home: Home | str | Path | None = None, host: str = "127.0.0.1", port: int = 3000) -> int:
    """Runs the UI until it is interrupted (SIGINT, SIGTERM) and returns 0.

    RondoError for a host that is not this machine alone, a port that is taken, or a Dagster that does not start.
    """
    home = home if isinstance(home, Home) else Home.find(home)
    _check(host, port)
    prepare(home)
    with _Signals() as asked:
        # Its own session, so that Ctrl-C reaches only this process, which then ends the others in order.
        child = subprocess.Popen(command(host, port), cwd=home.dagster, env=environment(home), start_new_session=True)
        try:
            _await(child, host, port, asked)
            while not asked.stop and child.poll() is None:
                time.sleep(0.2)
        finally:
            code = _end(child)
    if not asked.stop:
        raise RondoError(f"Dagster ended by itself with exit code {code}", where=str(home.dagster), hint="its messages stand above")
    return 0


def prepare(home: Home) -> None:
    """Writes the instance's settings where they are missing, and tells it of every round that was made without Dagster."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    home.experiments.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(SETTINGS, encoding="utf-8")
    instance = instance_of(home)
    assert instance is not None
    with instance:
        for path in sorted(home.experiments.glob("*.yaml")):
            try:
                reconcile(Experiment.load(path, home=home), instance)
            except RondoError as error:
                print(f"{path.name} is shown as broken: {error}", file=sys.stderr)


def command(host: str, port: int) -> list[str]:
    """`dagster dev` on the code location."""
    return [sys.executable, "-m", "dagster", "dev", "-m", "assets.definitions", "-h", host, "-p", str(port), "--log-level", "warning"]


def environment(home: Home) -> dict[str, str]:
    """This process's, with the home, its instance, and the folder of this package where Python would not find it by itself."""
    found = dict(os.environ, RONDO_HOME=str(home.root), DAGSTER_HOME=str(home.dagster), DAGSTER_DISABLE_TELEMETRY="1")
    own = str(Path(assets.__file__).parent.parent)
    if not own.startswith(str(Path(dagster.__file__).parent.parent)):
        found["PYTHONPATH"] = os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])
    return found


def _check(host: str, port: int) -> None:
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise RondoError(f"host {host!r}: Dagster's server has no login, so it only listens on this machine", hint="leave the host out")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            hint = "`rondo ui --port` with another number"
            raise RondoError(f"port {port} of {host} cannot be used: {error.strerror}", hint=hint) from error


class _Signals:
    """Notes that an end was asked for. While Python handlers are set, children start with the default ones, which Dagster needs."""

    def __init__(self) -> None:
        self.stop = False

    def __enter__(self) -> _Signals:
        self._old = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stop = True


def _await(child: subprocess.Popen[bytes], host: str, port: int, asked: _Signals) -> None:
    """Waits until the page answers, then says where it is."""
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print("starting Dagster ...", flush=True)
    while not asked.stop and child.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=2):
                print(f"Rondo's rounds in Dagster: {address} (Ctrl-C ends it)", flush=True)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)


def _end(child: subprocess.Popen[bytes]) -> int:
    """Asks Dagster to end, kills what is left of its session after a while; its exit code."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        code = child.wait(GRACE)
    except subprocess.TimeoutExpired:
        code = -signal.SIGKILL
    with suppress(ProcessLookupError):  # nothing was left
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return code
