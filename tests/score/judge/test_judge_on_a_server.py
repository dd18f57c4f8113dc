"""The judge behind a server: votes and their numbers in the table, costs, what fails, what is kept, what is cached."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from engine.errors import DataError, SpecError, StepError
from engine.ids import canonical
from engine.lines import Lines
from engine.score.measured import Measured
from engine.server import log as logged
from score.judge.judging import ANSWERS, between, chance, compared, context, keep, measured, replies
from server.scripted import Scripted, completion, late, said, script, status

CHECK = {  # the votes of the numeric check of Self-Rewarding, and some that cannot be read
    "a": ["Score: 4", "Score: 4", "Score: 5"],
    "b": ["Score: 3", "so so", "Score: 3"],
    "c": ["I cannot", "Score: 17", ""],
    "d": ["Score: 2", "Good but.\nScore: 3", "Score: 3"],
}


def entry(server, /, **params):
    own = {"url": server.url, "model": "m", "backoff": 0.01, **params.pop("server", {})}
    return {"method": "judge", "params": {"server": own, **params}}


def test_votes_become_a_number_and_what_cannot_be_read_is_left_out(tmp_path):
    with Scripted(replies(CHECK)) as server:
        own = entry(server, prompt="additive", votes=3, temperature=0.7, top_p=0.9, server={"concurrency": 1})
        ctx = context(tmp_path, [("p", "a"), ("p", "b"), ("p", "c"), ("q", "d")], measure=[own])
        rows = measured(ctx)
    assert [row["value"] for row in rows] == pytest.approx([13 / 3, 3.0, None, 8 / 3])
    assert [row["verdict"] for row in rows] == [None, None, "unparseable", None]
    assert [(row["prompt_tokens"], row["response_tokens"]) for row in rows] == [(30, 12)] * 4
    details = [json.loads(row["detail"]) for row in rows]
    assert details[1]["votes"] == [3, None, 3] and details[2]["why"] == "no vote could be read"
    assert details[3]["rationale"] == "Good but." and details[3]["texts"][0] == "Score: 2"
    sent = [(body["temperature"], body["top_p"], body["max_tokens"]) for body in server.bodies]
    assert set(sent) == {(0.7, 0.9, 512)} and len({body["seed"] for body in server.bodies}) == 12


def drawn(handler, number, body):
    """A judge that honours seeds."""
    handler.send(200, completion(f"Score: {int(chance(body.get('seed'), said(body)) * 10) + 1}"))


def test_votes_depend_on_the_content_and_the_seed_alone(tmp_path):
    def numbers(name, answers, round_=0, **parts):
        with Scripted(drawn) as server:
            own = entry(server, votes=3, temperature=1.0)
            ctx = context(tmp_path / name, answers, measure=[own | {"name": name}], **parts)
            ctx.round = round_
            return {text: row["value"] for (_, text), row in zip(answers, measured(ctx), strict=True)}

    first = numbers("one", ANSWERS[:2] + [("q", "other")])
    assert numbers("two", [("q", "other"), ("p", "bad"), ("q", "new"), ("p", "good")], 5).items() >= first.items()
    assert numbers("three", ANSWERS[:2], seed=1) != {text: first[text] for text in ("good", "bad")}
    assert len(set(first.values())) > 1


def test_criteria_have_a_column_each_and_their_mean_leaves_out_what_could_not_be_read(tmp_path):
    given = {"helpful": (5, 4, 3, 2), "honest": (4, 4, 4, 2), "follows": (5, 3, 4, 1), "true": (4, 5, 3, 3)}
    names = ["w", "x", "y", "z"]

    def act(handler, number, body):
        wanted, answer = between(said(body), "property"), between(said(body), "answer")
        unread = (wanted, answer) == ("It is honest", "x")
        aspect = {"It is helpful": "helpful", "It is honest": "honest", "It follows": "follows", "It is true": "true"}[wanted]
        handler.send(200, completion("?" if unread else f"Score: {given[aspect][names.index(answer)]}"))

    criteria = {"helpful": "It is helpful", "honest": "It is honest", "follows": "It follows", "true": "It is true"}
    with Scripted(act) as server:
        ctx = context(tmp_path, [("p", name) for name in names], measure=[entry(server, prompt="rubric", criteria=criteria)])
        out = Measured(ctx.spec.measure[0]).run(ctx)
    rows = {key[1].removeprefix("rollout/judge"): table.to_pylist() for key, table in out.rows.items()}
    assert [row["value"] for row in rows[""]] == pytest.approx([4.5, 4.0, 3.5, 2.0])  # x: (4 + 3 + 5) / 3 without honesty
    assert [row["value"] for row in rows["_honest"]] == [4, None, 4, 2] and rows["_honest"][1]["verdict"] == "unparseable"
    assert server.count == 16 and out.detail["unread_votes"] == 1 and out.detail["requests"] == 16


def test_a_prompts_own_criteria_come_from_its_meta(tmp_path):
    with Scripted(lambda handler, number, body: handler.send(200, completion(f"Score: {between(said(body), 'property')[-1]}"))) as server:
        ctx = context(tmp_path, ANSWERS, measure=[entry(server, prompt="rubric", criteria_field="rubric")])
        ref = next(ref for ref in ctx.tables if ref.table == "prompts")
        table = ctx.tables[ref].to_pylist()
        metas = [canonical({"rubric": ["say 1", "say 4"]}), canonical({"rubric": {"x": "say 5"}})]
        full = [row | {"meta": meta} for row, meta in zip(table, metas, strict=True)]
        ctx.tables[ref] = ctx.tables[ref].from_pylist(full, schema=ctx.tables[ref].schema)
        assert [row["value"] for row in measured(ctx)] == [2.5, 2.5, 5, 5]
        ctx.tables[ref] = ctx.tables[ref].from_pylist([row | {"meta": "{}"} for row in table], schema=ctx.tables[ref].schema)
        with pytest.raises(DataError, match=r"no criteria at 'rubric'"):
            measured(context(tmp_path, ANSWERS, measure=[entry(server, prompt="rubric", criteria_field="rubric")]))


def test_the_reference_is_shown_where_the_prompt_asks_for_it(tmp_path):
    def act(handler, number, body):
        right = between(said(body), "reference") == between(said(body), "answer")
        handler.send(200, completion(f"Verdict: {'right' if right else 'wrong'}"))

    with Scripted(act) as server:
        ctx = context(tmp_path, [("p", "1"), ("p", "2"), ("q", "2")], measure=[entry(server, prompt="reference")])
        assert [row["value"] for row in measured(ctx)] == [1, 0, 1]


def test_the_probability_of_yes_is_the_value(tmp_path):
    def act(handler, number, body):
        top = [{"token": "Yes", "logprob": -0.2231435513}, {"token": "No", "logprob": -1.6094379124}]
        handler.send(200, completion("Yes", logprobs={"content": [{"token": "Yes", "logprob": -0.22, "top_logprobs": top}]}))

    with Scripted(act) as server:
        (row, *_) = measured(context(tmp_path, ANSWERS, measure=[entry(server, prompt="yes_no")]))
        assert row["value"] == pytest.approx(0.8) and server.bodies[0]["top_logprobs"] == 20 and "seed" not in server.bodies[0]
        server.script = lambda handler, number, body: handler.send(200, completion("Yes"))
        with pytest.raises(StepError, match="no log-probabilities"):
            measured(context(tmp_path / "2", ANSWERS, measure=[entry(server, prompt="yes_no")]))


def test_costs_are_noted_and_stand_in_the_ledger(tmp_path):
    with Scripted(lambda handler, number, body: handler.send(200, completion("Score: 5", 1000, 100))) as server:
        ctx = context(tmp_path, ANSWERS, measure=[entry(server, server={"price_prompt": 2.0, "price_response": 10.0})])
        out = Measured(ctx.spec.measure[0]).run(ctx)
    assert out.detail["cost"] == pytest.approx(4 * (0.002 + 0.001)) and out.detail["prompt_tokens"] == 4000
    assert any("4,000 prompt and 400 response tokens, cost 0.012" in note for note in ctx.progress.notes)


def failing(act):
    """Answers that say `bad` fail, the others get a 5."""
    return lambda handler, number, body: (
        act(handler, number, body) if between(said(body), "answer") == "bad" else handler.send(200, completion("Score: 5"))
    )


def test_a_failed_request_fails_the_step_which_keeps_what_it_has(tmp_path):
    with Scripted(failing(status(500, "out of memory"))) as server:
        ctx = context(tmp_path, ANSWERS, measure=[entry(server, server={"attempts": 3, "concurrency": 1, "identity": "here"})])
        with pytest.raises(StepError, match="out of memory") as caught:
            measured(ctx)
        assert "run again" in str(caught.value)
        kept, server.script = server.count, script(then=lambda handler, number, body: handler.send(200, completion("Score: 6")))
        finished = len(logged.replies(Lines(ctx.journal / "replies.jsonl")))
        rows = measured(ctx)
    assert server.count - kept == 4 - finished and [row["value"] for row in rows].count(5) == finished


@pytest.mark.parametrize(("act", "verdict", "words"), [(status(400, "too long"), "error", "too long"), (late(1.0), "timeout", "0.2 s")])
def test_a_share_may_fail_and_has_a_verdict_and_no_number(tmp_path, act, verdict, words):
    with Scripted(failing(act)) as server:
        ctx = context(tmp_path, ANSWERS, measure=[entry(server, max_errors=0.3, server={"attempts": 2, "timeout": 0.2})])
        rows = measured(ctx)
    assert [row["value"] for row in rows] == [5, None, 5, 5] and [row["verdict"] for row in rows] == [None, verdict, None, None]
    assert words in json.loads(rows[1]["detail"])["why"]


def test_a_wrong_key_stops_the_step_and_is_told_to_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with Scripted(script(then=status(401, "no such key sk-secret"))) as server:
        ctx = context(tmp_path, ANSWERS, measure=[entry(server, server={"key_env": "SOME_KEY"})])
        with pytest.raises(Exception, match=r"no such key \*\*\*"):
            measured(ctx)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"sk-secret" in path.read_bytes()]


def test_what_was_judged_is_not_judged_again(tmp_path):
    with Scripted(replies({"good": ["Score: 9"], "bad": ["Score: 2"], "fair": ["none", "Score: 5"]})) as server:
        own = entry(server, server={"identity": "the judge"})
        ctx = context(tmp_path, ANSWERS, measure=[own])
        out = Measured(ctx.spec.measure[0]).run(ctx)
        keep(ctx, "scores", "rollout/judge", out.rows["scores", "rollout/judge"])
        first = server.count
        again = context(tmp_path, [("q", "good"), ("p", "bad"), ("q", "bad")], measure=[own], experiment="other")
        again.round = 3
        rows = measured(again)
    assert first == 4 and server.count == 5, "bad was never judged as an answer to q"
    assert [row["value"] for row in rows] == [9, 2, 2] and [row["prompt_tokens"] for row in rows] == [None, None, 10]


def test_where_the_server_stands_and_how_it_is_asked_changes_no_fingerprint(tmp_path):
    def settings(**params):
        ctx = context(tmp_path, measure=[{"method": "judge", "params": params}])
        return Measured(ctx.spec.measure[0]).settings(ctx.spec, 0, ctx.spec_path)

    base = {"url": "http://127.0.0.1:1/v1", "model": "m", "identity": "x"}
    first = settings(server=base)
    elsewhere = base | {"url": "http://127.0.0.1:2/v1", "concurrency": 3, "timeout": 9, "key_env": "K", "price_prompt": 1}
    assert settings(server=elsewhere, max_errors=0.5, batch=4) == first, "what is paid for stays in the journal"
    assert settings(server={"url": "http://127.0.0.1:1/v1", "model": "m"}) != first
    for other in ({"prompt": "additive"}, {"max_tokens": 5}, {"votes": 2, "temperature": 1.0}):
        assert settings(server=base, **other) != first
    assert "seed" not in first and settings(server=base, temperature=1.0)["seed"] == 0


def duel(handler, number, body):
    """Says A where the first answer is longer, B where the second is, a tie for equal lengths; `odd` always wins the first place."""
    first, second = between(said(body), "answer_of_A"), between(said(body), "answer_of_B")
    winner = "A" if "odd" in first + second or len(first) > len(second) else "B" if len(first) < len(second) else "tie"
    handler.send(200, completion(f"Because.\nWinner: {winner}"))


def test_pairs_are_asked_in_both_orders(tmp_path):
    with Scripted(duel) as server:
        rows = compared(context(tmp_path, [("p", "long one"), ("p", "short"), ("p", "odd"), ("q", "three")], compare=[entry(server)]))
    assert {order: rows["g0", "g1", order]["probability"] for order in ("forward", "swapped", "both")} == dict.fromkeys(
        ("forward", "swapped", "both"), 1.0
    )
    assert [rows["g0", "g2", order]["probability"] for order in ("forward", "swapped", "both")] == [1, 0, 0.5]
    assert json.loads(rows["g0", "g2", "swapped"]["detail"])["votes"] == [1] and rows["g0", "g1", "both"]["votes"] == 2
    assert server.count == 6 and rows["g0", "g1", "forward"]["prompt_tokens"] == 3


def test_votes_of_a_comparison_are_averaged_and_what_cannot_be_read_is_left_out(tmp_path):
    texts = ["Winner: A", "Winner: B", "Winner: A", "who knows"]
    with Scripted(lambda handler, number, body: handler.send(200, completion(texts[number % 4]))) as server:
        own = entry(server, votes=4, temperature=1.0, server={"concurrency": 1}) | {"orders": "forward"}
        rows = compared(context(tmp_path, ANSWERS[:2], compare=[own]))
        server.script = lambda handler, number, body: handler.send(200, completion("who knows"))
        none = compared(context(tmp_path / "2", ANSWERS[:2], compare=[own]))
    assert rows["g0", "g1", "forward"]["probability"] == pytest.approx(2 / 3) and rows["g0", "g1", "forward"]["votes"] == 3
    assert (none["g0", "g1", "forward"]["probability"], none["g0", "g1", "forward"]["verdict"]) == (None, "unparseable")


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("measure", {}, "either `server` or `model`"),
        ("measure", {"model": "policy", "votes": 3}, "greedy replies are all the same"),
        ("measure", {"model": "policy", "prompt": "pairwise"}, "about two answers"),
        ("measure", {"model": "policy", "prompt": "points", "read": "logprobs"}, "needs `values`"),
        ("measure", {"model": "policy", "prompt": "yes_no", "votes": 2, "temperature": 1.0}, "probabilities of one reply"),
        ("measure", {"model": "policy", "prompt": "rubric"}, "there are none"),
        ("measure", {"model": "policy", "criteria": {"a": "b"}}, "no {criterion} to fill"),
        ("measure", {"model": "policy", "prompt": "rubric", "criteria_file": "none.yaml"}, "no such file"),
        ("measure", {"server": {"url": "x", "model": "m"}}, r"server\.url"),
        ("measure", {"server": {"url": "http://x/v1", "modell": "m"}}, "did you mean 'model'"),
        ("compare", {"model": "policy", "prompt": "points"}, "about one answer"),
    ],
)
def test_settings_that_cannot_be_stop_before_any_work(tmp_path, kind, params, words):
    from engine.score.compared import Compared

    ctx = context(tmp_path, **{kind: [{"method": "judge", "params": params}]})
    with pytest.raises(SpecError, match=words):
        step = Measured(ctx.spec.measure[0]) if kind == "measure" else Compared(ctx.spec.compare[0], ctx.spec_path)
        step.settings(ctx.spec, 0, ctx.spec_path)


KILLED = """
import sys
from pathlib import Path
from score.judge.judging import context, measured

own = {"method": "judge", "params": {"server": {"url": sys.argv[1], "model": "m", "identity": "x", "concurrency": 4}}}
measured(context(Path(sys.argv[2]), [("p", f"a{i}") for i in range(200)], measure=[own]))
"""


def test_a_killed_step_pays_only_for_what_was_in_flight(tmp_path):
    import os
    import signal
    import time

    def act(handler, number, body):
        time.sleep(0.01)
        handler.send(200, completion(f"Score: {1 + int(between(said(body), 'answer')[1:]) % 10}"))

    with Scripted(act) as server:
        path = os.pathsep.join(p for p in sys.path if p)
        process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(tmp_path)], env=os.environ | {"PYTHONPATH": path})
        log = Lines(tmp_path / "journal" / "replies.jsonl")
        while len(log.read()) < 30 and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.1)
        sent, kept = server.count, len(log.read())
        own = {"method": "judge", "params": {"server": {"url": server.url, "model": "m", "identity": "x"}}}
        rows = measured(context(tmp_path, [("p", f"a{i}") for i in range(200)], measure=[own]))
    assert 30 <= kept < 200 and sent - kept <= 5 and server.count - sent == 200 - kept
    assert [row["value"] for row in rows] == [1 + i % 10 for i in [int(row["item_id"][1:]) for row in rows]]
