"""Selections that share a budget out over clusters or groups: quotas beside a slow reference, draws, errors."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from engine import sqlfile
from engine.errors import QueryError, StepError
from engine.plan.steps import PlanStep
from engine.select.steps import SelectedStep
from engine.tables import check, check_keys
from small_lake import SmallLake, spec

CLUSTER = [{"name": "prompt", "of": "pool", "k": 3}]


def lake(tmp_path, sizes, answers=1, score=lambda prompt, i: 1.0, rounds=(0,), **columns):
    """`sizes[j]` prompts in cluster j, named c<j>p<i>; prompt i is i + 1 away from the centroid; answers score by `score`."""
    small = SmallLake(tmp_path)
    names = [(j, f"c{j}p{i:02}", i) for j, n in enumerate(sizes) for i in range(n)]
    for round_ in rounds:
        rows = [{"prompt_id": p, "split": "train", "messages": [{"role": "user", "content": p}]} for _, p, _ in names]
        rows = [row | {key: make(j, p, i) for key, make in columns.items()} for row, (j, p, i) in zip(rows, names, strict=True)]
        small.put("prompts", "train", rows, round_)
        small.answers([(p, f"{p}/{a}", score(p, a)) for _, p, _ in names for a in range(answers)], round_=round_)
        small.put("clusters", "prompt", [{"item_id": p, "cluster_id": j, "distance": float(i + 1)} for j, p, i in names], round_)
    return small


def select(small, sql, round_=0, entries=None, seed=7, rounds=3, **params):
    plan = [{"name": name, "sql": file, "params": given} for name, (file, given) in (entries or {}).items()]
    one = spec(select={"sql": f"select/{sql}.sql", "params": params}, cluster=CLUSTER, plan=plan, seed=seed, rounds=rounds)
    for entry in one.plan:
        small.keep(PlanStep(entry, small.folder / "spec.yaml").run(small.context(one, round_)), round_)
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    small.keep(output, round_)
    rows = output.rows["selected", "policy"]
    check_keys("selected", check("selected", rows))
    return rows.to_pylist()


def by_cluster(rows):
    return dict(sorted(Counter(row["cluster_id"] for row in rows).items()))


def test_kmq_gives_every_cluster_the_same_quota(tmp_path):
    small = lake(tmp_path, [3, 10, 20])
    assert by_cluster(select(small, "kmq", rows=15)) == {0: 3, 1: 5, 2: 5}
    assert by_cluster(select(small, "kmq", rows=15, redistribute=True)) == {0: 3, 1: 6, 2: 6}
    assert by_cluster(select(small, "kmq", share=0.5)) == {0: 3, 1: 5, 2: 5}  # 16.5 is rounded to 17
    with pytest.raises(QueryError, match="2 rows over 3 clusters are none a cluster"):
        select(small, "kmq", rows=2)
    assert by_cluster(select(small, "kmq", rows=2, redistribute=True)) == {1: 1, 2: 1}
    with pytest.raises(QueryError, match="draw: expected softmax, proportional or uniform, found top"):
        select(small, "kmq", rows=15, draw="top")


def test_kmq_quotas_by_hand_on_random_clusters(tmp_path):
    lot = random.Random(5)
    for case in range(6):
        sizes = [lot.randrange(1, 12) for _ in range(lot.randrange(1, 6))]
        budget = lot.randrange(len(sizes), sum(sizes) + 4)
        small = lake(tmp_path / str(case), sizes)
        quota = [min(budget // len(sizes), n) for n in sizes]
        assert by_cluster(select(small, "kmq", rows=budget)) == {j: q for j, q in enumerate(quota) if q}
        even = [0] * len(sizes)
        for _ in range(min(budget, sum(sizes))):  # rows handed out one at a time to the cluster that gave least
            room = [j for j in range(len(sizes)) if even[j] < sizes[j]]
            even[min(room, key=lambda j: (even[j], -sizes[j], -j))] += 1
        assert by_cluster(select(small, "kmq", rows=budget, redistribute=True)) == {j: q for j, q in enumerate(even) if q}


def test_kmq_takes_a_prompt_once_with_its_best_answer(tmp_path):
    small = lake(tmp_path, [4], answers=3, score=lambda prompt, i: [0.5, 2.0, 2.0][i] if prompt != "c0p03" else 0.1)
    rows = select(small, "kmq", share=1.0)
    assert [row["generation_id"] for row in sorted(rows, key=lambda r: r["prompt_id"])] == ["c0p00-1", "c0p01-1", "c0p02-1"]
    assert sorted(row["rank"] for row in rows) == [1, 2, 3]
    small.put("clusters", "prompt", [{"item_id": "c0p00", "cluster_id": 0, "distance": 1.0}])
    with pytest.raises(QueryError, match=r"prompt c0p0[12] has no cluster in the part prompt"):
        select(small, "kmq", share=1.0)


def firsts(small, **params):
    """How often the prompts with number 0, 1, ... of their clusters are drawn, one a cluster."""
    session, file = small.session(0), sqlfile.read(sqlfile.find("select/kmq.sql"))
    clusters = session.run("select count(distinct cluster_id) from clusters").fetchall()[0][0]
    rows = session.table(file.query(), file.bind({"rows": clusters, **params}, {"seed": 3}))
    found = Counter(int(prompt[-2:]) for prompt in rows["prompt_id"].to_pylist())
    return [found[i] for i in range(max(found) + 1)]


def chi_square(found, chances):
    n = sum(found)
    return sum((f - n * chance) ** 2 / (n * chance) for f, chance in zip(found, chances, strict=True))


def test_kmq_of_one_cluster_and_equal_scores_is_uniform_sampling(tmp_path):
    small = lake(tmp_path, [40])
    order = [r[0] for r in small.session(0).run("select prompt_id from prompts order by draw(3, prompt_id)").fetchall()]
    file = sqlfile.read(sqlfile.find("select/kmq.sql"))
    for draw in ("uniform", "softmax", "proportional"):
        rows = small.session(0).table(file.query(), file.bind({"rows": 10, "draw": draw}, {"seed": 3}))
        assert set(rows["prompt_id"].to_pylist()) == set(order[:10])  # the lot of a uniform draw


def test_kmq_prefers_prompts_that_are_seldom_solved(tmp_path):
    small = lake(tmp_path, [4] * 500, answers=4, score=lambda prompt, i: float(i <= int(prompt[-1])))  # solved 1 to 4 times of 4
    params = {"quality": "difficulty", "draw": "proportional"}
    assert chi_square(firsts(small, **params)[:3], [3 / 6, 2 / 6, 1 / 6]) < 13.8  # 2 degrees, p = 0.001; always solved: never
    assert firsts(small, quality="difficulty", temperature=0.01) == [500]
    with pytest.raises(QueryError, match="quality: expected score or difficulty, found luck"):
        select(small, "kmq", quality="luck")


def test_kmq_draws_by_quality(tmp_path):
    small = lake(tmp_path, [4] * 500, score=lambda prompt, i: float(prompt[-1]) + 1)
    for params, chances in (
        ({"draw": "uniform"}, [0.25] * 4),
        ({"draw": "proportional"}, [0.1, 0.2, 0.3, 0.4]),
        ({}, [0.0321, 0.0871, 0.2369, 0.6439]),
    ):
        assert chi_square(firsts(small, **params), chances) < 16.3  # 3 degrees, p = 0.001
    assert firsts(small, temperature=0.01) == [0, 0, 0, 500]


def test_kmq_of_worthless_rows_draws_uniformly(tmp_path):
    small = lake(tmp_path, [4] * 300, score=lambda prompt, i: 0.0)
    assert chi_square(firsts(small, draw="proportional", min_score=0.0), [0.25] * 4) < 16.3


def test_k_center_median_takes_what_lies_at_the_median_distance(tmp_path):
    small = lake(tmp_path, [5, 4])
    rows = select(small, "k_center_median", rows=4)
    # distances 1..5 have the median 3, 1..4 the median 2.5; equally far ones go by id
    assert [(r["prompt_id"], r["rank"]) for r in rows] == [("c0p01", 2), ("c0p02", 1), ("c1p01", 1), ("c1p02", 2)]
    assert by_cluster(select(small, "k_center_median", rows=9)) == {0: 4, 1: 4}
    assert by_cluster(select(small, "k_center_median", rows=9, redistribute=True)) == {0: 5, 1: 4}
    with pytest.raises(QueryError, match="1 rows over 2 clusters"):
        select(small, "k_center_median", rows=1)


WEIGHTS = {"cluster_weights": ("plan/cluster_weights.sql", {})}


def test_rounds_of_cluster_weighted_choose_no_prompt_twice_and_stay_in_budget(tmp_path):
    wrong = {"c0": 0.2, "c1": 0.5, "c2": 0.9}

    def score(prompt, i):
        return 1.0 if i == 0 else float(i / 10 >= wrong[prompt[:2]])

    small = lake(tmp_path, [20, 20, 20], answers=10, score=score, rounds=(0, 1, 2))
    taken, counts = [], []
    for round_ in (0, 1, 2):
        rows = select(small, "cluster_weighted", round_, WEIGHTS, share=0.5)
        assert len(rows) <= 10  # 60 * 0.5 / 3
        taken += [row["prompt_id"] for row in rows]
        counts.append(by_cluster(rows))
    assert len(set(taken)) == len(taken)
    assert counts[0] == {0: 4, 1: 3, 2: 3}  # nothing was chosen before: equal, by largest remainder
    assert small.session(1).run("select count(*) from plan where reason like 'gap%'").fetchall() == [(3,)]
    assert len({tuple(c.items()) for c in counts}) > 1


def test_cluster_weighted_counts(tmp_path):
    plan = {"mine": ("mine.sql", {})}
    values = " union all ".join(f"select 'weight' as key, '{j}' as item_id, {w} as value" for j, w in enumerate([0.25212, 0.18678, 0.5611]))
    (tmp_path / "mine.sql").write_text(f"select key, item_id, value from ({values}) where exists (select 1 from prompts)")
    small = lake(tmp_path, [20, 20, 5], rounds=(0, 1))
    assert by_cluster(select(small, "cluster_weighted", 0, plan, plan="mine", rows=12)) == {0: 3, 1: 2, 2: 5}
    select(small, "cluster_weighted", 0, plan, plan="mine", rows=1)
    exact = {"plan": "mine", "rows": 12, "counts": "largest_remainder"}
    assert by_cluster(select(small, "cluster_weighted", 1, plan, **exact)) in ({0: 3, 1: 2, 2: 5}, {0: 3, 1: 2, 2: 4})
    assert sum(by_cluster(select(small, "cluster_weighted", 1, plan, **exact, redistribute=True)).values()) == 12
    drawn = [by_cluster(select(small, "cluster_weighted", 1, plan, plan="mine", rows=12, seed=seed)) for seed in range(8)]
    assert all(sum(c.values()) <= 12 for c in drawn) and len({tuple(c.items()) for c in drawn}) > 1
    with pytest.raises(QueryError, match="counts: expected multinomial or largest_remainder"):
        select(small, "cluster_weighted", 1, plan, plan="mine", rows=12, counts="floor")
    with pytest.raises(StepError, match="chose nothing"):
        select(small, "cluster_weighted", 1, plan, plan="other", rows=12)


def test_cluster_weighted_trains_gold_answers_where_they_are_given(tmp_path):
    meta = {"meta": lambda j, p, i: f'{{"response": "gold of {p}"}}' if i else "{}"}
    small = lake(tmp_path, [3, 3], score=lambda prompt, i: 0.0, **meta)
    rows = select(small, "cluster_weighted", 0, WEIGHTS, rows=6, gold="$.response", redistribute=True)
    assert [row["prompt_id"] for row in rows] == ["c0p01", "c0p02", "c1p01", "c1p02"]
    assert {row["origin"] for row in rows} == {"gold"} and {row["generation_id"] for row in rows} == {None}
    assert rows[0]["messages"] == [
        {"role": "user", "content": "c0p01", "origin": "prompt", "weight": 0.0},
        {"role": "assistant", "content": "gold of c0p01", "origin": "gold", "weight": 1.0},
    ]


def test_stratified(tmp_path):
    columns = {"topic": lambda j, p, i: f"t{j}", "meta": lambda j, p, i: f'{{"source": "s{j % 2}"}}', "task": lambda j, p, i: "one"}
    small = lake(tmp_path, [3, 10, 50], **columns)

    def sizes(**params):
        rows = select(small, "stratified", **params)
        return [sum(row["prompt_id"].startswith(f"c{j}") for row in rows) for j in range(3)]

    assert sizes(rows=33) == [3, 10, 20]  # water-filling
    assert sizes(rows=33, allocation="proportional") == [2, 5, 26]
    assert sizes(rows=33, allocation="temperature", temperature=1e9) == [3, 10, 20]
    assert sizes(rows=33, allocation="temperature", temperature=1) == [2, 5, 26]
    by_source = sizes(rows=33, by="$.source")
    assert by_source[1] == 10 and by_source[0] + by_source[2] == 23
    assert sum(sizes(share=0.5, by="task")) == 32
    with pytest.raises(QueryError, match="allocation: expected uniform"):
        sizes(rows=5, allocation="even")
