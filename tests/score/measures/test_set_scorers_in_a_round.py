"""SQL measures and measures of many answers in a real round: columns of `scored`, numbers of earlier rounds, nothing runs twice."""

from __future__ import annotations

import pytest

import loop_home

MEASURES = """\
measure:
  - {method: meteor_similarity, name: alike}
  - {method: self_bleu}
  - {method: embedding_diversity, name: apart, params: {space: answers}}
  - {method: novelty, params: {n: 1}}
  - {sql: measures/rank.sql, params: {scorer: math}}
  - {sql: measures/rank_consistency.sql, name: agree, params: {first: math, second: alike, missing: mean}}
  - {sql: measures/majority_share.sql, params: {weight: rank}}
  - {sql: measures/length.sql, name: size, params: {give: longer}}
cluster: [{name: answers, of: generations}]
select:
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    loop_home.write(folder, loop_home.YAML.replace("select:", MEASURES.rstrip("\n"), 1))
    experiment = loop_home.load(folder, "rounds=2")
    experiment.run()
    return folder, experiment


def test_every_answer_has_every_number(home):
    _, experiment = home
    names = ("alike", "self_bleu", "apart", "apart_vendi", "novelty", "rank", "agree", "majority_share", "size")
    for round_ in (0, 1):
        rows = experiment.sql(f"select {', '.join(names)} from scored", round_=round_).to_arrow_table()
        assert rows.num_rows == 96
        assert {name for name in names if rows[name].null_count} <= {"agree", "majority_share"}
    found = experiment.sql("select min(novelty) as low, max(novelty) as high from scored", round_=1).to_arrow_table().to_pylist()[0]
    assert 0 <= found["low"] < found["high"] <= 1
    assert experiment.sql("select count(*) from scored where novelty < 1", round_=0).fetchall() == [(0,)]


def test_a_second_run_measures_nothing_again(home):
    folder, experiment = home
    before = loop_home.attempts(experiment.lake, "loop")
    loop_home.load(folder, "rounds=2").run()
    assert loop_home.attempts(experiment.lake, "loop") == before
