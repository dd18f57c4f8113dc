"""A combined score of held-out answers of its own."""

import pytest

import loop_home
from engine.check import check
from engine.errors import SpecError

OWN = loop_home.YAML.replace("combine: math + format", "combine: zscore_within(math + format, prompt_id)").replace("rounds: 3", "rounds: 1")


def test_held_out_answers_are_scored_by_the_expression_of_evaluate(tmp_path):
    loop_home.write(tmp_path, OWN)
    loop = loop_home.load(tmp_path, "evaluate.combine=10 * math + format")
    loop.run()
    rows = loop.sql("select item_id, scorer, value from lake.scores where part like 'eval/%'").pl()
    wide = rows.pivot("scorer", index="item_id", values="value").select("score", "math", "format").rows()
    assert wide and all(score == 10 * math + form for score, math, form in wide)
    mean = loop.sql("select avg(score) m, count(distinct score) n from lake.scored").pl()
    assert abs(mean["m"][0]) < 1e-9 and mean["n"][0] > 1, "rollouts keep the one of `combine`"


def test_a_mistake_in_it_names_it(tmp_path):
    loop_home.write(tmp_path, OWN)
    bad = loop_home.load(tmp_path, "evaluate.combine=math + formt")
    with pytest.raises(SpecError, match=r"evaluate\.combine: no .*formt"):
        check(bad.spec, bad.path)
