"""Prompts by what they can teach: the filter of RIF-RFT and the weighted draw of eva."""

from __future__ import annotations

from collections import Counter

from engine import sqlfile
from engine.specfile import recipes
from engine.yamlfile import read_yaml
from target_lake import lake, select


def test_rif_drops_what_no_rollout_solves(tmp_path):
    given = read_yaml(recipes()["rif"]).values["select"]
    sql = given["sql"].removeprefix("select/").removesuffix(".sql")
    small = lake(tmp_path, [[0.0] * 8, [1.0] + [0.0] * 7, [1.0] * 8, [1.0] * 2 + [0.0] * 6, [1.0] * 4 + [0.0] * 4, [1.0] * 6 + [0.0] * 2])
    assert {p for p, _ in select(small, sql, **given["params"])} == {"p2", "p3", "p4", "p5", "p6"}
    assert {p for p, _ in select(small, sql, **given["params"] | {"hi": 0.999})} == {"p2", "p4", "p5", "p6"}
    weights = {p: row["weight"] for (p, _), row in select(small, sql, **given["params"], weight="variance").items()}
    assert (weights["p4"], weights["p5"], weights["p6"], weights["p3"]) == (0.1875, 0.25, 0.1875, 0.0)


def drawn(small, seed, **params):
    file = sqlfile.read(sqlfile.find("select/eva.sql"))
    return small.session(0).table(file.query(), file.bind(params, {"seed": seed})).to_pylist()


def test_eva_draws_by_spread(tmp_path):
    small = lake(tmp_path, [[1.0, 4.0, 2.0], [3.0, 3.0, 3.0], [0.0, 5.0, 1.0]])
    rows = {row["prompt_id"]: row for row in drawn(small, 1, share=1.0)}
    assert sorted(rows) == ["p1", "p3"]  # a prompt without spread is never drawn
    assert rows["p1"]["reason"] == "informativeness 3.0000, 0.3750 of the weight, best reward 4" and rows["p1"]["generation_id"] == "p1-1"
    assert "informativeness 5.0000, 0.6250" in rows["p3"]["reason"]
    mean = {row["prompt_id"]: row["reason"] for row in drawn(small, 1, share=1.0, info="max_mean")}
    assert "informativeness 1.6667" in mean["p1"] and "informativeness 3.0000" in mean["p3"]
    assert [row["prompt_id"] for row in drawn(small, 5, share=1.0, min_score=5.0)] == ["p3"]


def test_eva_draws_in_proportion(tmp_path):
    small = lake(tmp_path, [[1.0, 4.0] if i % 2 else [0.0, 5.0] for i in range(400)])
    found = Counter(row["reason"][:22] for seed in range(8) for row in drawn(small, seed, share=0.1))
    assert sum(found.values()) == 320
    # of the first rows drawn 3/8 have the smaller spread; taking a tenth moves that by little; three standard deviations
    assert abs(found["informativeness 3.0000"] / 320 - 0.375) < 0.085


def test_eva_is_uniform_where_nothing_spreads(tmp_path):
    small = lake(tmp_path, [[1.0, 1.0]] * 400)
    found = Counter(int(row["prompt_id"][1:]) % 4 for row in drawn(small, 3, share=0.25))
    assert sum(found.values()) == 100 and sum((n - 25) ** 2 / 25 for n in found.values()) < 16.3
