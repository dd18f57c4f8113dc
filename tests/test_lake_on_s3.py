"""The same loop with its lake in an object store: a real S3 server (moto) on the loopback address."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import loop_home

boto3 = pytest.importorskip("boto3", reason="the extra `dev` has boto3")
moto = pytest.importorskip("moto.server", reason="the extra `dev` has moto[server]")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of an empty bucket; the environment says how to reach it."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL"]).create_bucket(Bucket="bucket")
    yield "s3://bucket/lake"
    server.stop()


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
