"""The backend `openai` against a server that says what a script says: what it sends, what it makes of replies, what it refuses."""

import json

import pyarrow as pa
import pytest

from engine.errors import StepError
from engine.generate.asks import asked, with_samples
from engine.ids import digest
from engine.server import ServerError
from generate.asking_servers import answered, asks, backend
from server.scripted import Scripted, completion, drawn, echo, said, script, status


def by_seed(bodies):
    return {body.get("seed"): body for body in bodies}


def test_each_answer_is_a_request_with_a_seed_of_its_own(tmp_path):
    rows = asks(3)
    with Scripted(drawn) as server:
        one = backend(server.url, tmp_path, samples=4, sampler={"temperature": 0.7, "top_p": 0.9, "stop": ["12"]}, extra={"user": "x"})
        found = answered(one, rows, tmp_path / "journal")
    assert len(found) == len(server.bodies) == 12
    sent, wanted = by_seed(server.bodies), asked(one.job, rows)
    assert {row["seed"] for row in found} == set(sent) == set(wanted.seeds(one.job)) and len(sent) == 12
    texts = dict(zip(rows["prompt_id"].to_pylist(), (messages[0]["content"] for messages in rows["messages"].to_pylist()), strict=True))
    for row in found:
        body = sent[row["seed"]]
        assert said(body) == texts[row["prompt_id"]]
        own = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 12, "stop": ["12"], "logprobs": True, "user": "x", "model": "m"}
        assert {name: body[name] for name in own} == own and set(body) - set(own) == {"messages", "seed"}
        assert "12" not in row["response"] and row["finish_reason"] in ("stop", "length")
        assert (row["prompt_tokens"], row["response_tokens"]) == (len(said(body)) + 1, len(row["response"]))
        assert (row["model"], row["temperature"], row["top_p"], row["meta"]) == ("m", 0.7, 0.9, None)
        assert row["logprob"] == pytest.approx(-sum(0.5 if i % 2 == 0 else 0.25 for i in range(len(row["response"]))))
        assert row["tokens"] is None and row["token_logprobs"] is None
    total = sum(row["response_tokens"] for row in found)
    assert one.detail == {"requests": 12, "retries": 0, "prompt_tokens": 12 * 6, "response_tokens": total}


def test_rows_may_have_samplers_of_their_own_and_greedy_ones_no_seed(tmp_path):
    plain = with_samples(asks(2), [[0], [0]])
    rows = pa.concat_tables(
        [
            plain.append_column("temperature", pa.array([0.0, None])).append_column("max_tokens", pa.array([3, None])),
            with_samples(plain, [[5], [7, 1]])
            .append_column("temperature", pa.array([1.5, None]))
            .append_column("max_tokens", pa.array([None, 2])),
        ]
    )
    with Scripted(drawn) as server:
        found = answered(backend(server.url, tmp_path), rows, tmp_path / "journal")
    how = sorted((body["temperature"], body["max_tokens"], "seed" in body) for body in server.bodies)
    assert how == [(0.0, 3, False), (1.0, 2, True), (1.0, 2, True), (1.0, 12, True), (1.5, 12, True)]
    assert [row["seed"] is None for row in found] == [row["temperature"] == 0 for row in found]


def test_ids_follow_the_server_and_what_is_asked_and_not_its_address(tmp_path):
    def ids(job=None, **own):
        return [
            row["generation_id"] for row in answered(backend(server.url, tmp_path, job=job, **own), asks(2), tmp_path / digest(own, job))
        ]

    with Scripted(drawn) as server:
        known = ids(identity="here")
        assert len(set(known)) == 4 and known == ids({"spec_path": tmp_path / "x" / "spec.yaml"}, identity="here", concurrency=2)
        others = [
            ids(identity="there"),
            ids(identity="here", model="other"),
            ids(identity="here", extra={"min_p": 0.1}),
            ids({"round": 1}, identity="here"),
            ids({"actor": "rival"}, identity="here"),
            ids(identity="here", json_schema={"type": "object"}),
        ]
        unseeded = [ids({"round": round_}, identity="here", send_seed=False) for round_ in (0, 1)]
    assert not any("seed" in body for body in server.bodies[-8:])
    assert len({one for found in [known, *others, *unseeded] for one in found}) == 4 * 9


def test_temperature_0_gives_the_same_rows_in_every_round(tmp_path):
    with Scripted(drawn) as server:
        one, two = (
            answered(backend(server.url, tmp_path, job={"round": r, "seed": r}, sampler={"temperature": 0}), asks(3), tmp_path / str(r))
            for r in (0, 3)
        )
    assert [row | {"seconds": 0} for row in one] == [row | {"seconds": 0} for row in two]


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_token_logprobs_are_kept_where_they_are_asked_for(tmp_path, api):
    with Scripted(drawn) as server:
        found = answered(backend(server.url, tmp_path, api=api, job={"keep_tokens": True}), asks(3), tmp_path / "journal")
    for row in found:
        assert row["tokens"] is None and len(row["token_logprobs"]) == row["response_tokens"]
        assert sum(row["token_logprobs"]) == pytest.approx(row["logprob"])


def test_completions_get_the_prompt_as_base_models_here_do(tmp_path):
    messages = [[{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]]
    rows = pa.table({"prompt_id": ["p"], "messages": messages})
    with Scripted(drawn) as server:
        for own in ({}, {"separator": " | "}):
            answered(backend(server.url, tmp_path, samples=1, api="completions", **own), rows, tmp_path / str(len(own)))
    assert [body["prompt"] for body in server.bodies] == ["be kind\nhi", "be kind | hi"]


def fussy(word):
    """Refuses requests with a field, in words that name it."""
    return lambda handler, number, body: (status(400, f"{word} is not supported here") if word in body else drawn)(handler, number, body)


def test_a_server_without_logprobs_is_asked_again_without(tmp_path):
    with Scripted(fussy("logprobs")) as server:
        one = backend(server.url, tmp_path, samples=20, concurrency=4)
        found = answered(one, asks(5), tmp_path / "journal")
        assert len(found) == 100 and all(row["logprob"] is None and row["response"] for row in found)
        assert 101 <= server.count < 160, "only the first are asked twice"
        assert one.detail["no_logprobs"] == "HTTP 400: logprobs is not supported here"
        with pytest.raises(StepError, match="logprobs is not supported here"):
            answered(backend(server.url, tmp_path, logprobs=True), asks(1), tmp_path / "other")
        before = server.count
        answered(backend(server.url, tmp_path, logprobs=False), asks(1), tmp_path / "third")
        assert server.count == before + 2


def test_a_server_that_passes_over_logprobs_and_counts(tmp_path):
    def act(handler, number, body):
        handler.send(200, json.dumps({"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "content_filter"}]}))

    with Scripted(act) as server:
        one = backend(server.url, tmp_path, price_prompt=1, price_response=1)
        found = answered(one, asks(2), tmp_path / "journal")
        with pytest.raises(StepError, match="gives no log-probabilities"):
            answered(backend(server.url, tmp_path, logprobs=True), asks(1), tmp_path / "other")
    for row in found:
        assert (row["prompt_tokens"], row["response_tokens"], row["logprob"]) == (None, None, None)
        assert (row["finish_reason"], json.loads(row["meta"])) == ("stop", {"finish_reason": "content_filter"})
    assert (one.detail["without_counts"], one.detail["without_logprobs"], one.detail["cost"]) == (4, 4, 0)


def bad_prompt(handler, number, body):
    (status(400, "a filter says no") if said(body) == "say 1" else drawn)(handler, number, body)


def test_a_refused_prompt_is_named_once_the_others_are_answered(tmp_path):
    prompt = asks(3)["prompt_id"].to_pylist()[1]
    with Scripted(bad_prompt) as server:
        with pytest.raises(
            StepError, match=rf"2 of 6 requests failed for good(.|\n)*{prompt}: HTTP 400: a filter says no(.|\n)*refused: keep"
        ):
            answered(backend(server.url, tmp_path), asks(3), tmp_path / "journal")
        assert server.count == 6
        one = backend(server.url, tmp_path, refused="keep", price_prompt=1e6, price_response=0)
        found = answered(one, asks(3), tmp_path / "journal")
        assert server.count == 8, "what was answered is in the journal"
    kept = [row for row in found if row["prompt_id"] == prompt]
    assert [(row["response"], row["finish_reason"], row["response_tokens"]) for row in kept] == [("", "error", None)] * 2
    assert all(json.loads(row["meta"]) == {"error": "HTTP 400: a filter says no"} for row in kept)
    assert len(found) == 6 and all(row["response"] for row in found if row["prompt_id"] != prompt)
    spent = sum(row["prompt_tokens"] for row in found if row["prompt_id"] != prompt)
    assert (one.detail["requests"], one.detail["refused"], one.detail["prompt_tokens"], one.detail["cost"]) == (6, 2, spent, spent)


def test_a_server_that_refuses_everything_is_no_reason_for_empty_answers(tmp_path):
    with Scripted(script(then=status(400, "temperature must be 1"))) as server:
        with pytest.raises(StepError, match="refused all 6 requests"):
            answered(backend(server.url, tmp_path, refused="keep"), asks(3), tmp_path / "journal")
        assert not (tmp_path / "journal" / "answers.jsonl").exists()
        before = server.count
        with pytest.raises(StepError, match="temperature must be 1"):
            answered(backend(server.url, tmp_path, concurrency=2), asks(50), tmp_path / "journal")
        assert server.count - before < 20, "it is not asked a hundred times"


def test_several_answers_by_one_request(tmp_path):
    with Scripted(drawn) as server:
        one = backend(server.url, tmp_path, samples=5, samples_per_request=2)
        found = answered(one, asks(3), tmp_path / "journal")
        assert sorted(body.get("n", 1) for body in server.bodies) == [1, 1, 1, *[2] * 6]
        assert len(found) == 15 and len({row["generation_id"] for row in found}) == 15
        assert [len({row["seed"] for row in found[i : i + 5]}) for i in (0, 5, 10)] == [3, 3, 3]
        assert all(row["response_tokens"] == len(row["response"]) for row in found)
        assert one.detail["prompt_tokens"] == 9 * 6 and one.detail["requests"] == 9
        again = backend(server.url, tmp_path, samples=5, samples_per_request=2)
        assert answered(again, asks(3), tmp_path / "journal") == found and server.count == 9
        assert again.detail == one.detail, "what a killed run has spent counts"


def test_a_wrong_model_stops_at_once_and_what_came_is_kept(tmp_path):
    ok = script(*[echo] * 5, then=status(404, "no model m here"))
    with Scripted(ok) as server:
        with pytest.raises(ServerError, match="no model m here"):
            answered(backend(server.url, tmp_path, concurrency=1, samples=1), asks(20), tmp_path / "journal")
        server.script = echo
        before = server.count
        found = answered(backend(server.url, tmp_path, samples=1), asks(20), tmp_path / "journal")
    assert len(found) == 20 and server.count - before == 15


def test_an_answer_may_be_empty(tmp_path):
    with Scripted(lambda handler, number, body: handler.send(200, completion("", response=0))) as server:
        found = answered(backend(server.url, tmp_path, samples=1, logprobs=False), asks(1), tmp_path / "journal")
    assert [(row["response"], row["response_tokens"], row["finish_reason"]) for row in found] == [("", 0, "stop")]
