"""Which columns of `scored` a SQL may read, as far as its text tells: what decides what must be measured before it runs."""

import pytest

from engine.stepsql import StepSql

FILES = [
    ("select prompt_id, rm from scored", {}, True),
    ("select prompt_id, count(*) as n from scored group by all", {}, False),
    ("select * from scored", {}, True),
    ("select prompt_id from (select columns('r.*'), prompt_id from scored)", {}, True),
    ("select prompt_id, value from scores where scorer = 'math'", {}, False),
    ("select prompt_id, value from scores where scorer in ('math', 'rm')", {}, True),
    ("select prompt_id, value from scores", {}, True),
    ("select prompt_id, value from rated where scorer = $scorer", {"scorer": "rm"}, True),
    ("select prompt_id, value from rated where scorer = $scorer", {"scorer": "math"}, False),
    ("select prompt_id, value from rated where scorer <> $scorer", {"scorer": "math"}, True),
    ("select prompt_id, score from scored where score > $least", {"least": 0.5}, False),
    ("select prompt_id from prompts", {}, False),
]


@pytest.mark.parametrize(("text", "params", "reads"), FILES)
def test_what_a_sql_names(tmp_path, text, params, reads):
    (tmp_path / "own.sql").write_text(f"-- A test.\n{text}\n")
    assert StepSql.load("own.sql", params, "pairs", tmp_path / "spec.yaml").names("rm") is reads
