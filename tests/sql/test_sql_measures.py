"""SQL measures over a small lake: the catalogue's numbers, ties, missing scores, and what a wrong name says."""

from __future__ import annotations

import json
import math
import random
import statistics

import pytest
from scipy.stats import kendalltau, rankdata, spearmanr

from engine.errors import QueryError, StepError
from engine.score.measured_by_sql import MeasuredBySql
from engine.spec import Measure as Entry
from engine.step import Ref
from engine.views import SQL
from small_lake import SmallLake, spec

MEASURES = sorted(path.stem for path in (SQL / "measures").glob("*.sql"))
NEEDED = {"win_rate": {"judge": "judge"}, "knockout": {"judge": "judge"}, "best_of_n": {"n": 2}}
NEEDED["rank_consistency"] = {"first": "exact", "second": "exact"}
NEEDED |= {"hinge_sum": {"scorers": ["exact"]}, "salmon_reward": {"scorers": ["exact"]}, "score_distance": {"pattern": r"(\d)"}}
COMPARE = [{"method": "scores", "name": "judge"}]


def scored(folder, answers, **more):
    """A lake with answers (prompt, response, score) of round 0."""
    small = SmallLake(folder)
    small.prompts(list(dict.fromkeys(prompt for prompt, _, _ in answers)))
    small.answers(answers, **more)
    return small


def by_scores(folder, *prompts):
    """Answers with these scores, a list for each prompt."""
    return scored(folder, [(f"p{i}", f"text {s}", s) for i, scores in enumerate(prompts) for s in scores])


def column(small, name, values):
    """A further scorer: values in order of the answers."""
    items = sorted(small.context(spec()).read(Ref("generations", "rollout")).to_pylist(), key=lambda row: row["generation_id"])
    rows = [{"item_id": g["generation_id"], "prompt_id": g["prompt_id"], "scorer": name, "item_kind": "generation"} for g in items]
    small.put("scores", f"rollout/{name}", [row | {"value": value} for row, value in zip(rows, values, strict=True)])


def rows(small, name, **params):
    """What the measure puts into scores, by item."""
    entry = Entry(sql=f"measures/{name}.sql", name="m", params=params)
    step = MeasuredBySql(entry, (), None)
    made = step.run(small.context(spec(compare=COMPARE)))
    return {row["item_id"]: row for row in made.rows["scores", "rollout/m"].to_pylist()}


def values(small, name, **params):
    """Values in order of the items' ids."""
    found = rows(small, name, **params)
    return [found[item]["value"] for item in sorted(found)]


def near(*numbers, places=4):
    return [None if number is None else pytest.approx(number, abs=0.6 * 10**-places) for number in numbers]


def judged(small, wins, prompt="p0", part="rollout/judge", order="both", judge="judge"):
    """Comparisons: the probability that the left sample is better by (left, right)."""
    found = [
        {"prompt_id": prompt, "left_id": f"{prompt}-{a}", "right_id": f"{prompt}-{b}", "judge": judge, "order": order, "probability": p}
        for (a, b), p in wins.items()
    ]
    small.put("preferences", part, found)


def test_win_rates_of_self_play(tmp_path):
    small = by_scores(tmp_path, [0.0] * 4)
    judged(small, {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0, (1, 3): 1.0, (2, 3): 1.0, (0, 3): 0.0})
    spo = values(small, "win_rate", judge="judge", include_self=False)
    assert spo == near(2 / 3, 2 / 3, 1 / 3, 1 / 3) and sum(spo) == pytest.approx(2)
    sppo = values(small, "win_rate", judge="judge")
    assert sppo == near(2.5 / 4, 2.5 / 4, 1.5 / 4, 1.5 / 4) and sum(sppo) == pytest.approx(2)


def test_a_cycle_gives_no_one_an_advantage(tmp_path):
    small = by_scores(tmp_path, [0.0] * 3)
    judged(small, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 0.0})
    assert values(small, "win_rate", judge="judge", include_self=False) == [0.5, 0.5, 0.5]
    assert values(small, "knockout", judge="judge") == [1, 0, 2]  # 0 beats 1, 2 has a bye and beats 0


def test_both_orders_together_come_before_one_and_a_null_counts_for_none(tmp_path):
    small = by_scores(tmp_path, [0.0] * 3)
    pairs = [(0, 1, "forward", 1.0), (0, 1, "swapped", 0.0), (0, 1, "both", 0.5), (0, 2, "forward", 0.75), (1, 2, "both", None)]
    found = [
        {"prompt_id": "p0", "left_id": f"p0-{a}", "right_id": f"p0-{b}", "judge": "judge", "order": o, "probability": p}
        for a, b, o, p in pairs
    ]
    small.put("preferences", "rollout/judge", found)
    judged(small, {(0, 1): 0.0}, part="rollout/other", judge="other")
    assert values(small, "win_rate", judge="judge", include_self=False) == [0.625, 0.5, 0.25]
    assert values(small, "win_rate", judge="other", include_self=False) == [0.0, 1.0, None]
    assert rows(small, "win_rate", judge="judge")["p0-0"]["detail"] == "2 comparisons"
    with pytest.raises(QueryError, match="no comparison by the judge nobody"):
        values(small, "win_rate", judge="nobody")


def test_win_rates_by_score(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0, -0.5, 0.5, -1.0], [3.0], [2.0, None, 2.0])
    found = values(small, "win_rate_by_score")
    assert found == near(0.7104, 0.5, 0.3903, 0.6097, 0.2896, 0.5, 0.5, None, 0.5)
    assert math.fsum(found[:5]) == pytest.approx(2.5)
    assert values(small, "win_rate_by_score", include_self=False) == near(0.7630, 0.5, 0.3629, 0.6371, 0.2370, None, 0.5, None, 0.5)


def test_judged_by_scores_and_by_preferences_agree(tmp_path):
    scores = [0.3, -1.2, 2.0, 0.1]
    small = by_scores(tmp_path, scores)
    judged(small, {(i, j): 1 / (1 + math.exp(scores[j] - scores[i])) for i in range(4) for j in range(i + 1, 4)})
    for include_self in (True, False):
        ours = values(small, "win_rate", judge="judge", include_self=include_self)
        assert ours == pytest.approx(values(small, "win_rate_by_score", include_self=include_self), abs=1e-12)


def test_a_knockout_finds_the_best_and_the_worst(tmp_path):
    scores = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0]
    small = by_scores(tmp_path, scores)
    judged(small, {(i, j): float(scores[i] > scores[j]) for i in range(7) for j in range(i + 1, 7)})
    assert values(small, "knockout", judge="judge") == [1, 0, 2, 0, 3, 0, 1]
    worst = values(small, "knockout", judge="judge", seek="worst")
    assert worst.index(max(worst)) == 1
    judged(small, {(0, 1): 1.0})
    with pytest.raises(QueryError, match="meet, and the judge judge did not compare them"):
        values(small, "knockout", judge="judge")


def test_rank_and_borda(tmp_path):
    small = by_scores(tmp_path, [0.2, 1.5, -0.7, 0.9], [1.0, 1.0, 0.0, None], [5.0])
    assert values(small, "rank") == [3, 1, 4, 2, 1, 2, 3, None, 1]
    assert values(small, "rank", ties="mean") == [3, 1, 4, 2, 1.5, 1.5, 3, None, 1]
    assert values(small, "rank", give="borda", ties="mean") == [1, 3, 0, 2, 1.5, 1.5, 0, None, 0]
    assert values(small, "rank", give="share") == near(1 / 3, 1, 0, 2 / 3, 1, 0.5, 0, None, None)


def test_rank_consistency(tmp_path):
    ours, theirs = [5.0, 4, 3, 2, 1], [5.0, 3, 4, 1, 2]
    small = by_scores(tmp_path, ours, [1.0, 2.0], [1.0])
    column(small, "old", [*theirs, 2.0, 1.0, 1.0])
    ask = {"first": "exact", "second": "old"}
    assert values(small, "rank_consistency", **ask) == near(*[0.8] * 5, 0, 0, None)
    assert values(small, "rank_consistency", **ask, method="spearman") == near(*[0.9] * 5, 0, 0, None)
    assert values(small, "rank_consistency", **ask, method="top_order") == [0, 0, 0, 0, 0, 0, 0, None]
    assert values(small, "rank_consistency", **ask, missing="mean") == near(*[0.8] * 5, 0, 0, 0.4)
    assert values(small, "rank_consistency", **ask, over="round") == near(*[0.4] * 8)
    with pytest.raises(QueryError, match="method: expected kendall, spearman or top_order, found pearson"):
        values(small, "rank_consistency", **ask, method="pearson")
    with pytest.raises(QueryError, match="no row of the scorer older"):
        values(small, "rank_consistency", first="exact", second="older")


def test_rank_consistency_against_scipy_with_ties_and_gaps(tmp_path):
    lot = random.Random(5)
    prompts = [[float(lot.randrange(4)) for _ in range(lot.randrange(2, 8))] for _ in range(40)]
    small = by_scores(tmp_path, *prompts)
    items = [(f"p{i}-{k}", i, score) for i, scores in enumerate(prompts) for k, score in enumerate(scores)]
    items.sort()
    old = [None if lot.random() < 0.1 else float(lot.randrange(4)) for _ in items]
    column(small, "old", old)
    kept = {i: [(s, o) for (_, p, s), o in zip(items, old, strict=True) if p == i and o is not None] for i in range(40)}
    for method, reference in (("kendall", kendalltau), ("spearman", spearmanr)):
        found = rows(small, "rank_consistency", first="exact", second="old", method=method)
        for i, pairs in kept.items():
            if len(pairs) < 2:
                assert found[f"p{i}-0"]["value"] is None
                continue
            first, second = (rankdata([pair[side] for pair in pairs], method="ordinal") for side in (0, 1))
            assert found[f"p{i}-0"]["value"] == pytest.approx((reference(first, second).statistic + 1) / 2, abs=1e-12)


def test_majority_by_count_and_by_weight(tmp_path):
    texts = ["so Answer: 4", r"thus \boxed{4.0}", "Answer: 5", "Answer: 6", "what?"]
    answers = [("p0", text, score) for text, score in zip(texts, [0.1, 0.2, 0.9, 0.3, 0.0], strict=True)] + [("p1", "Answer: 1", None)]
    small = scored(tmp_path, answers)
    graded = small.context(spec()).read(Ref("scores", "rollout/score")).to_pylist()
    for row in graded:
        row["verdict"] = "unparseable" if row["item_id"] == "p0-4" else row["verdict"]
    small.put("scores", "rollout/score", graded)
    assert values(small, "majority_share") == [0.5, 0.5, 0.25, 0.25, 0, 1]
    assert values(small, "majority") == [1, 1, 0, 0, 0, 1]
    assert values(small, "majority_share", weight="exact") == near(0.2, 0.2, 0.6, 0.2, 0, None)
    assert values(small, "majority", weight="exact") == [0, 0, 1, 0, 0, None]
    found = rows(small, "majority", weight="exact")
    assert {found[f"p0-{i}"]["detail"] for i in range(5)} == {"5.0"} and found["p1-0"]["detail"] is None
    assert values(small, "answer_entropy") == near(*[math.log(4) - math.log(2) / 2] * 5, 0)
    assert values(small, "answer_entropy", normalise=True) == near(*[0.75] * 5, 0)


def test_a_weight_below_zero_cannot_vote_but_its_sigmoid_can(tmp_path):
    small = scored(tmp_path, [("p0", "1", -3.0), ("p0", "1", -2.0), ("p0", "2", -1.0)])
    with pytest.raises(QueryError, match=r"a weight of -3.0 .*try squash: sigmoid"):
        values(small, "majority", weight="exact")
    assert values(small, "majority", weight="exact", squash="sigmoid") == [0, 0, 1]
    sigma = [1 / (1 + math.exp(-s)) for s in (-3, -2, -1)]
    share = (sigma[0] + sigma[1]) / sum(sigma)
    assert values(small, "majority_share", weight="exact", squash="sigmoid") == near(share, share, 1 - share)
    assert values(small, "majority") == [1, 1, 0]


def test_difficulty(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0, 1.0, None], [0.0])
    assert values(small, "difficulty") == [2, 2, 2, 2, 0]
    assert values(small, "difficulty", give="failed") == [0.5, 0.5, 0.5, 0.5, 1]
    assert values(small, "difficulty", bar=0.0, give="share") == [0.75] * 4 + [1]


def test_distinct_n(tmp_path):
    small = scored(tmp_path, [("p0", "a b a b", 0.0), ("p0", "a\n b c ", 0.0), ("p1", "a", 0.0)])
    assert values(small, "distinct_n", n=1) == near(0.4286, 0.4286, 1)
    assert values(small, "distinct_n", n=2) == near(0.6, 0.6, None)
    assert rows(small, "distinct_n", n=3)["p0-0"]["detail"] == "3 of 3"
    assert values(small, "distinct_n", n=1, vocabulary=10) == near(3 / (10 * (1 - 0.9**7)), 3 / (10 * (1 - 0.9**7)), 1)
    with pytest.raises(QueryError, match="expected 1 or more"):
        values(small, "distinct_n", n=0)


def test_length(tmp_path):
    small = scored(tmp_path, [("p0", "a" * n, 0.0) for n in (2, 4, 4, 10)] + [("p1", "a b  c", 0.0)])
    sizes = [2, 4, 4, 10]
    z = [(n - 5) / statistics.pstdev(sizes) for n in sizes]
    assert values(small, "length") == near(*z, 0)
    assert values(small, "length", std="sample") == near(*[(n - 5) / statistics.stdev(sizes) for n in sizes], None)
    assert values(small, "length", give="ratio") == near(0.4, 0.8, 0.8, 2, 1)
    assert values(small, "length", give="longer") == [0, 0, 0, 1, None]
    assert values(small, "length", give="length", unit="words") == [1, 1, 1, 1, 3]
    assert values(small, "length", give="length", unit="characters") == [2, 4, 4, 10, 6]


def test_longer_than_the_median_of_the_siblings_by_hand(tmp_path):
    lot = random.Random(6)
    sizes = [[lot.randrange(1, 6) for _ in range(lot.randrange(2, 7))] for _ in range(30)]
    small = scored(tmp_path, [(f"p{i:02d}", "a" * n, 0.0) for i, row in enumerate(sizes) for n in row])
    wanted = [float(n > statistics.median(row[:k] + row[k + 1 :])) for row in sizes for k, n in enumerate(row)]
    assert values(small, "length", give="longer") == wanted


def test_an_unknown_length_has_no_number(tmp_path):
    small = scored(tmp_path, [("p0", "aa", 0.0), ("p0", "aaaa", 0.0)], response_tokens=None)
    assert values(small, "length") == [None, None]
    assert values(small, "length", give="longer") == [None, None]
    assert values(small, "length", unit="characters") == [-1, 1]


def test_margin(tmp_path):
    small = by_scores(tmp_path, [0.25, 1.5, -0.75, 1.5], [1.0, None], [2.0, 0.5])
    assert values(small, "margin") == [-1.25, 0, -2.25, 0, 0, None, 0, -1.5]
    assert values(small, "margin", to="other") == [-1.25, 0, -2.25, 0, None, None, 1.5, -1.5]
    assert values(small, "margin", to="worst") == [1, 2.25, 0, 2.25, 0, None, 1.5, 0]
    assert values(small, "margin", to="mean") == near(-0.375, 0.875, -1.375, 0.875, 0, None, 0.75, -0.75)


def test_best_of_n_weights(tmp_path):
    small = by_scores(tmp_path, [5.0, 3.0, 4.0])
    assert values(small, "best_of_n", n=2) == near(2 / 3, 0, 1 / 3)
    assert values(small, "best_of_n", n=1) == near(1 / 3, 1 / 3, 1 / 3)
    assert values(small, "best_of_n", n=3) == [1, 0, 0]
    tied = by_scores(tmp_path / "tied", [1.0, 1.0, None])
    assert values(tied, "best_of_n", n=2) == [1, 0, 0]
    with pytest.raises(QueryError, match="best of 3: prompt p0 has 2 scored answers"):
        values(tied, "best_of_n", n=3)


def test_group_advantages(tmp_path):
    small = by_scores(tmp_path, [0.731059, 0.268941, -0.182426, -0.622459], [1.0, 1.0], [2.0, None])
    found = values(small, "advantage")
    assert found == near(1.352446, 0.436416, -0.458304, -1.330559, 0, 0, 0, None, places=5)
    assert values(small, "advantage", std="none")[:2] == near(0.731059 - 0.04877875, 0.268941 - 0.04877875, places=6)
    sample = values(small, "advantage", std="sample")
    assert sample[0] == pytest.approx(1.352446 * math.sqrt(3 / 4), abs=1e-5) and sample[4:] == [0, 0, 0, None]
    assert abs(values(small, "advantage", epsilon=1.0)[0]) < abs(found[0])


def test_curation_by_choice_among_k_moves_a_distribution_as_the_theory_says(tmp_path):
    """Every draw of two answers from (.5, .3, .2) with rewards 0, 1, 2 as a prompt, weighed by its chance."""
    start, rewards = [0.5, 0.3, 0.2], [0.0, 1.0, 2.0]
    draws = [(i, j) for i in range(3) for j in range(3)]
    for wanted in ((0.354523, 0.341591, 0.303886), (0.216510, 0.349584, 0.433907), (0.109985, 0.314464, 0.575552)):
        small = by_scores(tmp_path / str(wanted[0]), *[[rewards[i], rewards[j]] for i, j in draws])
        kept = values(small, "softmax_share")
        after = [0.0, 0.0, 0.0]
        for n, (i, j) in enumerate(draws):
            chance = start[i] * start[j]
            after[i] += chance * kept[2 * n]
            after[j] += chance * kept[2 * n + 1]
        assert after == near(*wanted, places=6)
        start = after
    nobody = by_scores(tmp_path / "none", [None, None], [0.0, None])
    assert values(nobody, "softmax_share") == [None, None, 1, 0]


SCALED = {"rank": {}, "rank_consistency": {"first": "exact", "second": "old"}, "best_of_n": {"n": 2}}


@pytest.mark.parametrize("name", sorted(SCALED))
def test_ranks_do_not_change_with_the_scale_of_scores(tmp_path, name):
    scores = [[0.3, 0.1, 0.1, 0.9], [2.0, -1.0, 0.5]]
    once = by_scores(tmp_path / "once", *scores)
    scaled = by_scores(tmp_path / "scaled", *[[3 * s + 7 for s in row] for row in scores])
    for small in (once, scaled):
        column(small, "old", [1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0])
    assert values(once, name, **SCALED[name]) == values(scaled, name, **SCALED[name])
    share = values(once, "softmax_share"), values(scaled, "softmax_share")
    assert share[0] != pytest.approx(share[1], abs=0.01)  # Bradley-Terry is not invariant


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_gives_each_answer_one_number_whatever_the_order_of_rows(tmp_path, name):
    lot = random.Random(8)
    answers = [(f"p{i % 5}", f"Answer: {lot.randrange(3)} because {lot.random()}", float(lot.randrange(3))) for i in range(25)]
    small = scored(tmp_path / "a", answers)
    pairs = [
        {"prompt_id": f"p{p}", "left_id": f"p{p}-{i}", "right_id": f"p{p}-{j}", "judge": "judge", "order": "both"}
        | {"probability": lot.random()}
        for p in range(5)
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    sizes = random.Random(9)
    margins = {
        order: {"criteria": {c: {"margin": side * sizes.random()} for c in "ab"}} for order, side in (("forward", 1), ("swapped", -1))
    }
    pairs += [pair | {"order": order, "detail": json.dumps(margins[order])} for pair in list(pairs) for order in margins]
    small.put("preferences", "rollout/judge", pairs)
    found = rows(small, name, **NEEDED.get(name, {}))
    assert len(found) == 25 and all(row["value"] is not None for row in found.values())
    shuffled = SmallLake(tmp_path / "b")
    for table, part in (
        ("prompts", "train"),
        ("generations", "rollout"),
        ("scores", "rollout/score"),
        ("scores", "rollout/exact"),
        ("preferences", "rollout/judge"),
    ):
        other = small.context(spec()).read(Ref(table, part)).to_pylist()
        lot.shuffle(other)
        shuffled.put(table, part, other)
    assert {k: (v["value"], v["detail"]) for k, v in found.items()} == {
        k: (v["value"], v["detail"]) for k, v in rows(shuffled, name, **NEEDED.get(name, {})).items()
    }


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_fits_a_spec_before_any_row_is_there(tmp_path, name):
    entry = Entry(sql=f"measures/{name}.sql", name="m", params=NEEDED.get(name, {}))
    MeasuredBySql(entry, (), None).check(spec(compare=COMPARE), tmp_path / "spec.yaml")


@pytest.mark.parametrize("name", [n for n in MEASURES if "$scorer " in (SQL / "measures" / f"{n}.sql").read_text()])
def test_an_unknown_scorer_is_an_error_that_names_it(tmp_path, name):
    small = by_scores(tmp_path, [0.0, 1.0])
    with pytest.raises((QueryError, StepError), match="no row of the scorer exakt"):
        values(small, name, **NEEDED.get(name, {}), scorer="exakt")
