"""Queries that watch a loop: length drift, proxy against gold, KL, calibration, ranking accuracy, diversity, early warnings."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy.stats import pearsonr, spearmanr

from engine import sqlfile
from engine.errors import QueryError
from small_lake import SmallLake


def ask(small, name, **params):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return small.session().table(file.text, file.bind(params)).to_pylist()


def answers(small, round_, rows, part="rollout"):
    """Answers (prompt, response, score, further scores by name) of a round; ids are prompt-sample."""
    small.answers([(prompt, text, score) for prompt, text, score, _ in rows], part=part, round_=round_)
    seen: dict[str, int] = {}
    columns: dict[str, list] = {}
    for prompt, _, _, more in rows:
        seen[prompt] = seen.get(prompt, -1) + 1
        item = f"{prompt}-{seen[prompt]}" + (f"-r{round_}" if round_ else "")
        for name, value in more.items():
            columns.setdefault(name, []).append({"item_id": item, "item_kind": "generation", "prompt_id": prompt, "value": value})
    for name, found in columns.items():
        small.put("scores", f"{part}/{name}", [row | {"scorer": name} for row in found], round_)


def pair(winner, loser, **more):
    own = {"row_id": f"{winner}>{loser}", "prompt_id": winner.partition("-")[0], "chosen_id": winner, "rejected_id": loser}
    sides = {"chosen": said("long enough"), "rejected": said("short")}
    return own | sides | {"origin": "generation", "source_round": 0, "weight": 1.0} | more


def said(text):
    return [{"role": "assistant", "content": text, "origin": "policy", "weight": 1.0}]


def test_length_drift(tmp_path):
    small, lot = SmallLake(tmp_path), random.Random(1)
    rounds = [[(lot.randrange(1, 30), float(lot.randrange(4))) for _ in range(40)] for _ in range(2)]
    for round_, rows in enumerate(rounds):
        answers(small, round_, [(f"p{i % 5}", "x" * n, s, {}) for i, (n, s) in enumerate(rows)])
    small.put("pairs", "policy", [pair("p0-0", "p0-1"), pair("p1-0", "p1-1", chosen=said("a"))], 0)
    found = ask(small, "length_drift")
    for row, rows in zip(found, rounds, strict=True):
        sizes, scores = [n for n, _ in rows], [s for _, s in rows]
        assert row["mean_tokens"] == pytest.approx(statistics.mean(sizes)) and row["median_tokens"] == statistics.median(sizes)
        assert row["pearson"] == pytest.approx(pearsonr(sizes, scores).statistic)
        assert row["spearman"] == pytest.approx(spearmanr(sizes, scores).statistic)
        assert row["ratio"] == pytest.approx(statistics.mean(sizes) / statistics.mean(n for n, _ in rounds[0]))
    assert [row["chosen_longer"] for row in found] == [0.5, None] and found[0]["truncated"] == 0.0
    assert ask(small, "length_drift", scorer="nothing")[0]["pearson"] is None


def both(small, round_, proxies, golds):
    answers(small, round_, [(f"p{i}", "x", p, {"gold": g}) for i, (p, g) in enumerate(zip(proxies, golds, strict=True))])


def test_the_gap_between_proxy_and_gold(tmp_path):
    small = SmallLake(tmp_path)
    both(small, 0, [-2.0, 2.0], [0.0, 10.0])  # means 0 and 5, deviations 2 and 5
    both(small, 1, [1.0, 3.0], [3.0, 5.0])  # z of the proxy 1.0, of gold -0.2
    both(small, 2, [3.0, 3.0], [2.0, 2.0])
    both(small, 3, [4.0, 4.0], [3.0, 3.0])
    found = ask(small, "proxy_gold", gold="gold")
    assert [(r["proxy_z"], r["gold_z"]) for r in found[:2]] == [(0, 0), (1.0, pytest.approx(-0.2))]
    assert found[1]["gap"] == pytest.approx(1.2)
    assert [row["alarm"] for row in found] == [False, False, True, False]
    assert ask(small, "proxy_gold", gold="other") == []


def test_kl_estimates(tmp_path):
    small = SmallLake(tmp_path)
    ratios = [0.5, -0.5, 1.0, None]
    answers(small, 0, [("p0", "x" * 4, 0.0, {"ratio": r}) for r in ratios])
    row = ask(small, "kl", log_ratio="ratio")[0]
    assert row["answers"] == 3 and row["k1"] == pytest.approx(1 / 3)
    assert row["k3"] == pytest.approx((0.1065 + 0.1487 + math.exp(-1)) / 3, abs=5e-5)
    assert row["k1_token"] == pytest.approx(1 / 12)
    assert row["k1_stderr"] == pytest.approx(statistics.stdev(ratios[:3]) / math.sqrt(3))


def test_k1_and_k3_find_the_kl_of_two_known_policies(tmp_path):
    policy, reference, lot = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], random.Random(3)
    small = SmallLake(tmp_path)
    draws = lot.choices(range(3), policy, k=4000)
    answers(small, 0, [(f"p{i}", "x", 0.0, {"ratio": math.log(policy[d] / reference[d])}) for i, d in enumerate(draws)])
    exact = sum(p * math.log(p / q) for p, q in zip(policy, reference, strict=True))
    row = ask(small, "kl", log_ratio="ratio")[0]
    assert abs(row["k1"] - exact) < 4 * row["k1_stderr"] and row["k3"] == pytest.approx(exact, abs=0.03)


def test_calibration(tmp_path):
    small = SmallLake(tmp_path)
    confidences, rights = (0.95, 0.9, 0.85, 0.6, 0.55, 0.3), (1.0, 1.0, 0.0, 1.0, 0.0, 0.0)
    answers(small, 0, [(f"p{i}", "x", r, {"sure": c}) for i, (c, r) in enumerate(zip(confidences, rights, strict=True))])
    five, ten = (ask(small, "calibration", confidence="sure", bins=n)[0] for n in (5, 10))
    assert (five["ece"], ten["ece"]) == (pytest.approx(0.1917, abs=5e-5), pytest.approx(0.2083, abs=5e-5))
    brier = statistics.mean((c - r) ** 2 for c, r in zip(confidences, rights, strict=True))
    assert five["brier"] == pytest.approx(brier) and five["accuracy"] == 0.5 and five["bins"] == 5
    # three bins of two: (.95, .9), (.85, .6), (.55, .3)
    two = ask(small, "calibration", confidence="sure", bins=3)[0]
    assert two["adaptive_ece"] == pytest.approx((abs(2 - 1.85) + abs(1 - 1.45) + abs(0 - 0.85)) / 6)
    shown = ask(small, "reliability", confidence="sure", bins=5)
    assert [(r["bin"], r["low"], r["high"], r["answers"], r["accuracy"]) for r in shown] == [
        (2, 0.2, 0.4, 1, 0.0),
        (3, 0.4, 0.6, 2, 0.5),
        (5, 0.8, 1.0, 3, pytest.approx(2 / 3)),
    ]
    answers(small, 0, [("p0", "x", 1.0, {"sure": 1.5})])
    with pytest.raises(QueryError, match=r"a confidence of 1\.5"):
        ask(small, "calibration", confidence="sure")


def test_ranking_accuracy(tmp_path):
    small = SmallLake(tmp_path)
    answers(small, 0, [(f"p{i}", "x", 0.0, {"logp": v}) for i in range(3) for v in ((-5.0, -7.0), (-7.0, -5.0), (-6.0, -6.0))[i]])
    references = {"ref_chosen_logps": math.log(0.25), "ref_rejected_logps": 0.0, "probability": 0.8}
    small.put("pairs", "policy", [pair(f"p{i}-0", f"p{i}-1", **references) for i in range(3)], 0)
    row = ask(small, "ranking_accuracy", logprob="logp", beta=0.5)[0]
    assert row["pairs"] == 3 and row["accuracy"] == pytest.approx(2 / 3)  # a tie counts as right
    assert (row["reference"], row["idealised"], row["alignment_gap"]) == (0.0, 1.0, pytest.approx(1 / 3))
    assert row["gap"] == pytest.approx(math.log(4))
    assert ask(small, "ranking_accuracy", logprob="logp", beta=2.0)[0]["idealised"] == 0.0
    sure = [pair(f"p{i}-0", f"p{i}-1", **(references | {"probability": 1.0})) for i in range(3)]
    small.put("pairs", "policy", sure, 0)
    assert ask(small, "ranking_accuracy", logprob="logp", beta=2.0)[0]["idealised"] == 1.0  # (99) ** (1 / 2) > 4


def test_diversity(tmp_path):
    small = SmallLake(tmp_path)
    answers(small, 0, [("p0", "a b a b", 1.0, {}), ("p0", "a b c", 0.0, {}), ("p1", "a b", 1.0, {}), ("p1", "a b", 1.0, {})])
    row = ask(small, "diversity")[0]
    assert (row["prompts"], row["answers"], row["repeated"]) == (2, 4, 0.25)
    assert row["distinct_1"] == pytest.approx(3 / 11) and row["distinct_2"] == pytest.approx(3 / 7) and row["distinct_3"] == 1.0
    assert row["prompt_distinct_2"] == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert row["answer_entropy"] == pytest.approx(math.log(2) / 2)
    right = ask(small, "diversity", bar=1.0)[0]
    assert (right["answers"], right["repeated"]) == (3, pytest.approx(1 / 3))


def test_score_spread(tmp_path):
    small = SmallLake(tmp_path)
    numbers = [0.1, 0.4, 0.9, 0.4]
    answers(small, 0, [("p0", "x", n, {}) for n in [*numbers, None]])
    row = ask(small, "score_spread", scorer="score")[0]
    assert (row["answers"], row["without_number"], row["median"], row["smallest"], row["largest"]) == (5, 1, 0.4, 0.1, 0.9)
    assert row["mean"] == pytest.approx(0.45) and row["deviation"] == pytest.approx(statistics.stdev(numbers))
    assert {row["scorer"] for row in ask(small, "score_spread")} == {"score", "exact"}


def test_early_warnings(tmp_path):
    small = SmallLake(tmp_path)
    for round_, (proxy, gold, alike, logp, size) in enumerate(
        [(0.1, 0.5, 0.2, -5.0, 10), (0.2, 0.4, 0.25, -4.0, 12), (0.3, 0.3, 0.31, -6.0, 13), (0.4, 0.35, 0.2, -5.0, 9)]
    ):
        more = {"gold": gold, "meteor_similarity": alike, "logprob": logp}
        answers(small, round_, [(f"p{i // 2}", "x" * size, proxy, more) for i in range(10)])
        mark = f"-r{round_}" if round_ else ""
        pairs = [pair(f"p{i}-0{mark}", f"p{i}-1{mark}", source_round=round_) for i in range(3 if round_ else 1)]
        small.put("pairs", "policy", pairs, round_)
    found = {(r["round"], r["warning"]): (r["value"], r["is_beyond"]) for r in ask(small, "early_warnings", gold="gold")}
    assert [found[r, "proxy_gold"] for r in range(4)] == [(0, False), (1, False), (2, True), (0, False)]
    assert [found[r, "similarity"] for r in (1, 2)] == [(pytest.approx(1.25), False), (pytest.approx(1.55), True)]
    assert [found[r, "chosen_logprob"] for r in range(4)] == [(None, False), (1.0, False), (-2.0, True), (1.0, False)]
    assert [found[r, "length"][1] for r in range(4)] == [False, False, True, False]
    assert [found[r, "pair_rate"] for r in (0, 1)] == [(0.2, True), (0.6, False)]
    assert "proxy_gold" not in {r["warning"] for r in ask(small, "early_warnings")}
