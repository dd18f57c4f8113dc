"""A judge as the only scorer of an experiment: it scores rollouts and held-out answers, trains, and is never asked twice."""

from __future__ import annotations

import loop_home
from score.judge.judging import between, chance
from server.scripted import Scripted, completion, said

JUDGED = loop_home.YAML.replace(
    "score: [{verifier: math}, {verifier: regex, name: format, params: {pattern: 'Answer'}}]\ncombine: math + format\n",
    "score: [{measure: judge, params: {server: {url: URL, model: m, identity: here, price_prompt: 1, price_response: 1}}}]\n",
).replace("metrics: [pass@1, mean, length]", "metrics: [mean, length]")


def act(handler, number, body):
    handler.send(200, completion(f"Score: {1 + int(9 * chance(between(said(body), 'answer')))}", 8, 2))


def test_a_judge_scores_every_part_and_pays_once(tmp_path):
    with Scripted(act) as server:
        loop_home.write(tmp_path, JUDGED.replace("URL", server.url))
        loop_home.write(tmp_path, JUDGED.replace("URL", server.url), name="again")
        loop_home.load(tmp_path, "rounds=1").run()
        first = server.count
        loop_home.load(tmp_path, "rounds=1", name="again").run()
        second = server.count
        experiment = loop_home.load(tmp_path, "rounds=1")
        asked = [(body["messages"][0]["content"]) for body in server.bodies]
    rows = experiment.sql("select * from lake.scores where scorer = 'judge' and experiment = 'loop'").pl().to_dicts()
    assert {row["part"] for row in rows} == {"rollout/judge", "eval/judge"}
    assert all(1 <= row["value"] <= 10 and row["verdict"] is None for row in rows) and len({row["value"] for row in rows}) > 2
    assert len(asked) == len(set(asked)) == first == second, "each question once, whatever asks it"
    assert sum(row["prompt_tokens"] or 0 for row in rows) == 8 * first and sum(row["response_tokens"] or 0 for row in rows) == 2 * first
    means = experiment.sql("select value from lake.evaluations where metric = 'mean' and experiment = 'loop'").pl().to_dicts()
    assert means and all(1 <= row["value"] <= 10 for row in means)
