"""API keys: they go to the server in a header, and into nothing that anybody reads."""

from __future__ import annotations

import pytest

from engine.errors import SpecError
from engine.server import ServerError, ServerParams
from engine.server.client import Client
from server.scripted import Scripted, script, status
from server.test_client import client, requests


def test_the_key_is_sent_and_told_to_nobody(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    with Scripted(script(then=status(401, "bad key sk-very-secret"))) as server:
        one = client(server, key_env="JUDGE_KEY")
        with pytest.raises(ServerError) as caught:
            list(one.complete(requests(1)))
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"
    assert "secret" not in str(caught.value) and "bad key ***" in str(caught.value) and caught.value.__cause__ is None
    assert "secret" not in repr(one.params) and "secret" not in str(one.params.settings()) and "JUDGE_KEY" not in str(one.params.settings())
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(SpecError, match="JUDGE_KEY is not set"):
        client(server, key_env="JUDGE_KEY")


@pytest.mark.parametrize("secret", ["two words", "sch\xfcssel", "a\x07b"])
def test_a_key_that_no_header_can_carry_is_not_repeated(monkeypatch, secret):
    monkeypatch.setenv("JUDGE_KEY", secret)
    with pytest.raises(SpecError, match="JUDGE_KEY holds blanks") as caught:
        Client(ServerParams(url="http://127.0.0.1:1/v1", model="m", key_env="JUDGE_KEY"))
    assert secret not in str(caught.value)
