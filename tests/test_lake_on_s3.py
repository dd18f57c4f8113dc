"""The same loop with its lake in an object store: a real S3 server (moto) on the loopback address."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import loop_home

boto3 = pytest.importorskip("boto3", reason="the extra `dev` has boto3")
pytest.importorskip("moto.server", reason="the extra `dev` has moto[server]")
EndpointConnectionError = pytest.importorskip("botocore.exceptions").EndpointConnectionError


def free_port() -> int:
    """A port of the loopback address that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The URI of an empty bucket; the environment says how to reach it. The server is a process of its own: delta-rs keeps
    the interpreter lock while it reads a log, so a server in this process could not answer."""
    port = free_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    code = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=log, stderr=log)
    client = boto3.client("s3")
    for _ in range(300):
        try:
            client.create_bucket(Bucket="bucket")
            break
        except EndpointConnectionError:
            time.sleep(0.1)
    yield "s3://bucket/lake"
    server.terminate()
    server.wait()


def test_the_loop_runs_resumes_and_answers_sql_on_an_object_store(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDO_LAKE", bucket)
    loop_home.write(tmp_path)
    experiment = loop_home.load(tmp_path, "rounds=1")
    experiment.run()
    assert not (tmp_path / "lake").exists()
    assert experiment.run() == []
    assert experiment.sql("select count(1), count(distinct prompt_id), min(part) from scored").fetchall() == [(96, 24, "rollout")]
    assert experiment.sql("select count(1) from history.selected").fetchall() == [(40,)]
    assert len(experiment.checkpoint(0).lineage().fetchall()) > 0
    remote = loop_home.contents(experiment.lake, "loop")
    monkeypatch.delenv("RONDO_LAKE")
    local = loop_home.load(tmp_path, "rounds=1")
    local.run()
    assert loop_home.contents(local.lake, "loop") == remote
