"""The macros of sql/macros: their numbers, slow references beside them, and how sessions, exports and fingerprints take them in."""

from __future__ import annotations

import math
import random
import shutil
from collections import Counter
from fractions import Fraction

import duckdb
import pytest

from engine import macros, sqlfile
from engine.query import Session, Window
from engine.sqlfile import CHANGING, SqlFile
from engine.stepsql import StepSql
from engine.views import DRAW, export
from small_lake import SmallLake, spec

NAMES = sorted(macros.names())


def near(*values):
    return pytest.approx(list(values), abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_one_macro_of_its_name_that_says_what_it_does(name):
    lines = macros.text(name).splitlines()
    header = [line for line in lines if line.startswith("--")]
    assert lines[: len(header)] == header and header[0].startswith(f"-- {name}(")
    assert any(line.startswith("-- Example: ") for line in header)
    code = "\n".join(line for line in lines[len(header) :] if not line.lstrip().startswith("--"))
    assert code.startswith(f"CREATE MACRO {name}(") and code.count("CREATE MACRO") == 1
    assert not [call for call in macros.CALL.findall(code) if CHANGING.fullmatch(call.lower())]
    assert " from " not in code.lower()  # what a step reads stands in its own SQL


@pytest.mark.parametrize(
    "sizes, budget, given",
    [
        ([3, 10, 50, 100], 60, [3, 10, 23, 24]),
        ([2, 9, 9], 13, [2, 5, 6]),
        ([5, 5, 5], 20, [5, 5, 5]),
        ([100, 3, 50, 10], 60, [24, 3, 23, 10]),
        ([4, 4, 4], 2, [0, 1, 1]),
        ([], 5, []),
        ([7], 0, [0]),
    ],
)
def test_water_fill(ask, sizes, budget, given):
    assert ask("water_fill(?::BIGINT[], ?)", sizes, budget) == given


def test_water_fill_by_rows_handed_out_one_at_a_time(ask):
    """The slow way: the next row goes to the group that has given least; among equals, to the largest, then the last."""
    lot = random.Random(1)
    for _ in range(80):
        sizes = [lot.randrange(0, 9) for _ in range(lot.randrange(1, 8))]
        budget = lot.randrange(0, 40)
        given = [0] * len(sizes)
        for _ in range(min(budget, sum(sizes))):
            room = [i for i in range(len(sizes)) if given[i] < sizes[i]]
            given[min(room, key=lambda i: (given[i], -sizes[i], -i))] += 1
        assert ask("water_fill(?::BIGINT[], ?)", sizes, budget) == given


def remainders(weights, total):
    """Largest remainders with exact fractions."""
    whole = sum(map(Fraction, weights))
    if not whole:
        return [0] * len(weights)
    quotas = [Fraction(w) * total / whole for w in weights]
    counts = [math.floor(q) for q in quotas]
    for i in sorted(range(len(weights)), key=lambda i: (counts[i] - quotas[i], i))[: total - sum(counts)]:
        counts[i] += 1
    return counts


def offered(weights, caps, budget):
    """Weighted allocation by another way: the level L at which the groups' min(cap, weight * L) sum to the budget."""
    open_ = [i for i, (w, c) in enumerate(zip(weights, caps, strict=True)) if w and c]
    full = set(open_)
    for level in sorted({Fraction(0), *(Fraction(caps[i]) / Fraction(weights[i]) for i in open_)}, reverse=True):
        if sum(min(Fraction(caps[i]), Fraction(weights[i]) * level) for i in open_) > budget:
            full = {i for i in open_ if Fraction(caps[i]) / Fraction(weights[i]) < level}
    rest = budget - sum(caps[i] for i in full)
    others = remainders([w if i in open_ and i not in full else 0 for i, w in enumerate(weights)], rest)
    return [caps[i] if i in full else n for i, n in enumerate(others)]


@pytest.mark.parametrize(
    "weights, total, counts",
    [
        ([0.25212, 0.18678, 0.56110], 12, [3, 2, 7]),
        ([1, 1, 1], 2, [1, 1, 0]),
        ([0, 1, 1, 0], 3, [0, 2, 1, 0]),
        ([0, 0], 0, [0, 0]),
        ([], 0, []),
    ],
)
def test_largest_remainder(ask, weights, total, counts):
    assert ask("largest_remainder(?::DOUBLE[], ?)", weights, total) == counts


def test_nothing_to_share_among_is_an_error(ask):
    for weights in ([0, 0], []):
        with pytest.raises(duckdb.Error, match="3 to share out, and no group has a weight above 0"):
            ask("largest_remainder(?::DOUBLE[], 3)", weights)


def test_counts_of_weights_by_exact_fractions(ask):
    lot = random.Random(2)
    for _ in range(80):
        n = lot.randrange(1, 9)
        weights = [lot.choice([0, 0.5, 1, 2, lot.random()]) for _ in range(n)]
        caps, budget = [lot.randrange(0, 12) for _ in range(n)], lot.randrange(0, 50)
        if sum(weights):
            assert ask("largest_remainder(?::DOUBLE[], ?)", weights, budget) == remainders(weights, budget)
        given = ask("allocate(?::DOUBLE[], ?::BIGINT[], ?)", weights, caps, budget)
        assert given == offered(weights, caps, budget)
        assert sum(given) == min(budget, sum(c for c, w in zip(caps, weights, strict=True) if w))


def test_allocate_offers_again_what_a_full_group_leaves(ask):
    assert ask("allocate([1, 1, 1], [2, 9, 9], 12)") == [2, 5, 5]
    assert ask("allocate([8, 1, 1], [3, 100, 100], 10)") == [3, 4, 3]
    assert ask("allocate([0, 1], [5, 2], 9)") == [0, 2]
    assert ask("allocate([]::DOUBLE[], []::BIGINT[], 4)") == []


def test_sql_and_python_allocate_alike(ask):
    from engine import allocate

    lot = random.Random(3)
    for _ in range(60):
        n = lot.randrange(1, 12)
        weights, sizes = [round(lot.uniform(0.001, 1), 3) for _ in range(n)], [lot.randrange(0, 30) for _ in range(n)]
        budget = lot.randrange(0, 150)
        assert ask("water_fill(?::BIGINT[], ?)", sizes, budget) == list(allocate.water_fill(sizes, budget))
        assert ask("largest_remainder(?::DOUBLE[], ?)", weights, budget) == list(allocate.largest_remainder(weights, budget))
        assert ask("allocate(?::DOUBLE[], ?::BIGINT[], ?)", weights, sizes, budget) == list(allocate.allocate(weights, sizes, budget))


def test_shares(ask):
    assert ask("softmax([0.2, -0.1, 1.0], 1)") == near(0.25212, 0.18678, 0.56110)
    assert ask("softmax([1, 2, 3, 4], 1)") == near(0.0321, 0.0871, 0.2369, 0.6439)
    assert ask("softmax([1000, 0], 1)") == [1.0, 0.0]
    assert ask("softmax([1, 2], 0.001)") == near(0, 1)
    assert ask("shares([1, 2, 3, 4])") == near(0.1, 0.2, 0.3, 0.4)
    assert ask("shares([0, 0])") == [0.5, 0.5]
    with pytest.raises(duckdb.Error, match="a weight of -1"):
        ask("shares([-1.0, 2.0])")


def test_temperature_shares(ask):
    sizes = "[1000, 100, 10]"
    assert ask(f"temperature_shares({sizes}, 1)") == near(0.9009, 0.0901, 0.0090)
    assert ask(f"temperature_shares({sizes}, 2)") == near(0.7061, 0.2233, 0.0706)
    assert ask(f"temperature_shares({sizes}, 5)") == near(0.4928, 0.3110, 0.1962)
    assert ask(f"temperature_shares({sizes}, 1e9)") == near(1 / 3, 1 / 3, 1 / 3)
    assert ask(f"temperature_shares({sizes}, 0.01)") == near(1, 0, 0)  # 1000 ** 100 alone would overflow
    one, five = ask(f"temperature_shares({sizes}, 1)"), ask(f"temperature_shares({sizes}, 5)")
    weights = [p / q for p, q in zip(five, one, strict=True)]
    assert weights == pytest.approx([0.5471, 3.4517, 21.7785], abs=1e-4)
    assert math.fsum(p * w for p, w in zip(one, weights, strict=True)) == pytest.approx(1)


def test_cooldown_goes_in_equal_steps(ask):
    assert [ask("cooldown(5, 1, ?, 5)", r) for r in range(7)] == [5, 4, 3, 2, 1, 1, 1]
    assert ask("cooldown(5, 1, 0, 1)") == 5


def test_cyclical_sizes(ask):
    sizes = ask("cycle_sizes(0.25, 1, 0.5, 6)")
    assert sizes == [0.25, 0.5, 1, 0.5, 0.25, 0.5, 1, 0.5, 0.25, 0.5, 1]
    assert sum(sizes) == 6.25
    lot = random.Random(4)
    for _ in range(50):
        first, last, factor = lot.uniform(0.05, 0.5), lot.uniform(0.5, 1), lot.uniform(0.3, 0.9)
        size, up, walked = first, True, []
        for _ in range(20):  # as the paper walks: grow to the largest, shrink to the smallest
            walked.append(size)
            up = size < last if up else size <= first
            size = min(size / factor, last) if up else max(size * factor, first)
        assert ask("list_transform(range(20), lambda t: cycle_size(t, ?, ?, ?))", first, last, factor) == pytest.approx(walked)


def test_weights_by_age(ask):
    def weights(beta):
        return ask("shares(list_transform([1, 2, 3, 4], lambda age: power_law(age, ?)))", beta)

    assert weights(0.5) == near(0.3591, 0.2539, 0.2073, 0.1796)
    assert weights(1) == near(0.48, 0.24, 0.16, 0.12)
    assert weights(2) == near(0.7024, 0.1756, 0.0780, 0.0439)
    assert weights(0) == near(0.25, 0.25, 0.25, 0.25)
    assert ask("list_transform([0, 1, 3], lambda age: forgotten(age, 1))") == near(0, 0.5, 0.75)
    with pytest.raises(duckdb.Error, match="an age of 0 rounds"):
        ask("power_law(0, 1)")


def test_pass_at_k(ask):
    assert [ask("pass_at_k(8, 2, ?)", k) for k in (1, 2, 4)] == pytest.approx([0.25, 0.464286, 0.785714], abs=1e-6)
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                assert ask("pass_at_k(?, ?, ?)", n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))
    with pytest.raises(duckdb.Error, match="k is 3"):
        ask("pass_at_k(2, 1, 3)")


def chi_square(counts, expected):
    return sum((c - e) ** 2 / e for c, e in zip(counts, expected, strict=True))


def test_multinomial_counts_draws_of_the_inverse_cdf(ask):
    for weights in ([1.0, 2.0, 3.0], [0.0, 1.0, 0.0, 2.0, 0.0], [5.0]):
        counts = ask("multinomial(?::DOUBLE[], 300, 7, 'key')", weights)
        ends = [sum(weights[: i + 1]) for i in range(len(weights))]
        drawn = Counter(next(i for i, end in enumerate(ends) if ask("draw(7, ?)", f"key/{t}") * ends[-1] < end) for t in range(300))
        assert counts == [drawn[i] for i in range(len(weights))]
    assert ask("multinomial([0, 0], 10, 7, 'key')") == [0, 0]
    assert ask("multinomial([1, 1], 50, 7, 'key')") != ask("multinomial([1, 1], 50, 8, 'key')")
    totals = ask("multinomial([1, 2, 3, 4], 20000, 11, 'key')")
    assert chi_square(totals, [2000, 4000, 6000, 8000]) < 16.27  # 3 degrees, p = 0.001


def test_sampling_keys_draw_in_proportion_without_replacement(db, ask):
    rows = db.execute(
        "select id from (values ('a', 1), ('b', 2), ('c', 3), ('d', 0)) t(id, w), range(6000) s(seed) "
        "qualify row_number() over (partition by seed order by sampling_key(seed, id, w), id) <= 3 "
        "order by seed, sampling_key(seed, id, w), id"
    ).fetchall()
    orders = Counter("".join(r[0] for r in rows[i : i + 3]) for i in range(0, len(rows), 3))
    expected = {
        "abc": 1 / 6 * 2 / 5,
        "acb": 1 / 6 * 3 / 5,
        "bac": 2 / 6 * 1 / 4,
        "bca": 2 / 6 * 3 / 4,
        "cab": 3 / 6 / 3,
        "cba": 3 / 6 * 2 / 3,
    }
    assert set(orders) == set(expected)  # weight 0 never comes before another
    assert chi_square([orders[o] for o in expected], [6000 * p for p in expected.values()]) < 20.5  # 5 degrees, p = 0.001
    assert ask("sampling_key(1, 'a', 0)") == math.inf
    with pytest.raises(duckdb.Error, match="a weight of -2"):
        ask("sampling_key(1, 'a', -2)")


def test_a_session_makes_the_macros_that_are_called_and_no_others(tmp_path):
    session = Session(SmallLake(tmp_path).lake, Window(None))
    assert session.run("select 1 as softmax").fetchall() == [(1,)]
    assert session._macros == set()
    assert session.run("select Allocate([1, 1], [9, 9], 4) as n").fetchall() == [([2, 2],)]
    assert session._macros == {"allocate", "largest_remainder"}
    assert session.run("select softmax([1, 1], 1) as n, list_sum(multinomial([1], 3, 1, 'k')) as m").fetchall() == [([0.5, 0.5], 3)]


def test_an_exported_script_has_the_macros_and_runs_twice(tmp_path):
    script = export(SmallLake(tmp_path).lake)
    with duckdb.connect() as connection:
        connection.execute(script)
        connection.execute(script)
        assert connection.sql("select softmax([1, 1], 1), sampling_key(1, 'a', 0)").fetchall() == [([0.5, 0.5], math.inf)]
        made = {
            row[0] for row in connection.sql("select function_name from duckdb_functions() where macro_definition is not null").fetchall()
        }
        assert {*NAMES, "draw"} <= made


def test_a_changed_macro_or_view_changes_the_fingerprint_of_sql_that_uses_it(tmp_path, monkeypatch):
    for name, sql in {
        "direct": "select prompt_id, generation_id from scored where softmax([score], 1)[1] > 0",
        "indirect": "select prompt_id, generation_id from scored where list_sum(allocate([1], [1], 1)) > 0",
        "none": "select prompt_id, generation_id from scored -- softmax(x, 1)",
    }.items():
        (tmp_path / f"{name}.sql").write_text(sql)

    def settings():
        made = {n: StepSql.load(f"{n}.sql", {}, "selected", tmp_path / "spec.yaml") for n in ("direct", "indirect", "none")}
        return {n: sql.settings(spec(), 0)["sql"] for n, sql in made.items()}

    before = settings()
    copy = tmp_path / "macros"
    shutil.copytree(macros.FOLDER, copy)
    monkeypatch.setattr(macros, "FOLDER", copy)
    (copy / "softmax.sql").write_text("-- another comment\n" + macros.text("softmax"))
    assert settings() == before
    (copy / "shares.sql").write_text(macros.text("shares").replace("1.0::DOUBLE / len", "2.0::DOUBLE / len"))
    (copy / "largest_remainder.sql").write_text(macros.text("largest_remainder").replace("w > 0", "w > 1"))
    after = settings()
    assert {n for n in before if before[n] != after[n]} == {"direct", "indirect"}
    view = SqlFile(tmp_path / "v.sql", "select prompt_id from history.prompt_history")
    assert "right_answers" in view.code()
    monkeypatch.setattr(sqlfile, "view_texts", lambda: {"prompt_history": "select 1 as other from generations"})
    assert "right_answers" not in view.code() and "other" in view.code()


def test_draw_is_not_a_file_but_stands_first():
    assert macros.script()[0] == DRAW.replace("create macro", "create or replace macro")
