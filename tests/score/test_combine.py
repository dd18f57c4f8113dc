"""The expression of the combined score: what it may name, what looks at other answers, wrong texts, its fingerprint."""

from __future__ import annotations

import pytest

from engine import macros
from engine.errors import SpecError
from engine.score import check
from engine.score.combine import check_combine
from engine.score.expression import Expression
from fakes import spec_of


def test_an_expression_knows_what_it_names():
    expression = Expression("MATH * (meta ->> '$.w')::double + if(verdict_format = 'right', characters, 0)", ("math", "format"))
    assert expression.names == {"math", "meta", "verdict_format", "characters"}
    assert (expression.of_generations, expression.of_prompts) == (["characters"], ["meta"])
    assert expression.said == {"verdict_format": ("verdict", "format")} and expression.window is None
    hidden = Expression("difficulty + 1", ("difficulty",))
    assert hidden.of_prompts == [] and hidden.names == {"difficulty"}, "a scorer hides a column of its name"


@pytest.mark.parametrize(
    ("expression", "window"),
    [
        ("zscore_within(math, prompt_id) * 2", "zscore_within()"),
        ("Lexicographic_Within([math], prompt_id)", "rank_within()"),
        ("math - max(math) over (partition by prompt_id)", "max() over a window"),
        ("rank() over (order by math)", "rank() over a window"),
        ("shaped_math(math, 1, 0.5)", None),
        ("list_max([math, 1]) -- zscore_within(math, prompt_id)", None),
    ],
)
def test_what_looks_at_other_answers_cannot_judge_in_waves(expression, window):
    assert Expression(expression, ("math",)).window == window
    fields = {"template": "{q}", "reference": "a"}
    parts = {"score": [{"verifier": "math"}], "combine": expression, "prompts": {"train": "t.jsonl", "fields": fields}}
    check(spec_of(**parts))
    waves = spec_of(**parts, generate={"until": {"right": 1, "cap": 8}})
    if window is None:
        check(waves)
    else:
        with pytest.raises(SpecError, match=r"looks at other answers, and generate\.until") as caught:
            check(waves)
        assert "combine row by row" in caught.value.hint


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("math + (select 1)", "a SELECT inside", "partition by prompt_id"),
        ("greatest(*columns(*))", "a star", "name the columns: math, steps"),
        ("math + now()::date::int", "something else at every run", ""),
        ("math + current_date", "something else at every run", ""),
        ("math * getenv('HOME')::double", "something else at every run", ""),
        ("zscore_withn(math, prompt_id)", "no function 'zscore_withn'", "'zscore_within'"),
        ("max(math)", "one number for all answers", "greatest(a, b)"),
        ("math + verdict_maths", "no scorer 'verdict_maths'", "'verdict_math'"),
        ("math + xyzzy", "no scorer 'xyzzy'", "math, steps, response_tokens, characters, finish_reason"),
        ("math + rowid", "no scorer 'rowid'", ""),
        ("verdict_math", "expected a number, found VARCHAR", ""),
        ("zscore_within(zscore_within(math, 0), 0)", "cannot be nested", ""),
        ("math; select 1", "combine", ""),
        ("math) as value from wide union all select 'x', (1", "one expression", ""),
        ("$seed + math", "combine", ""),
    ],
)
def test_wrong_expressions(expression, message, hint):
    with pytest.raises(SpecError, match=message) as caught:
        check_combine(expression, ["math", "steps"])
    assert hint in caught.value.hint


def test_a_changed_macro_changes_the_settings_of_expressions_that_call_it(monkeypatch):
    plain, calls = Expression("math * 2", ("math",)), Expression("shaped_math(math, 1, 0.5)", ("math",))
    assert plain.settings() == {"combine": "math * 2"}
    before = calls.settings()
    assert set(before["macros"]) == {"sigmoid", "shaped_math"}
    text = macros.text
    monkeypatch.setattr(macros, "text", lambda name: text(name) + ("\n-- a comment" if name == "sigmoid" else ""))
    assert calls.settings() == before
    monkeypatch.setattr(macros, "text", lambda name: text(name).replace("x >= 0", "x > 0"))
    assert calls.settings() != before
