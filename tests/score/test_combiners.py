"""The combiners of sql/macros through the combined score: the catalogue's numbers, nulls, equal bits for any order of rows."""

from __future__ import annotations

import itertools
import random

import duckdb
import pyarrow as pa
import pytest

from engine import macros
from engine.errors import StepError
from engine.score.combine import check_combine, combined
from engine.score.expression import Expression


def values(expression, rows, scorers=("a", "b")):
    """The score of each row, in the order of `rows` (dicts of columns; generation_id is given here)."""
    found = Expression(expression, tuple(scorers))
    check_combine(expression, list(scorers))
    table = pa.Table.from_pylist([{"generation_id": f"g{i:06d}"} | row for i, row in enumerate(rows)])
    made = dict(zip(*combined(found, table).to_pydict().values(), strict=True))
    assert len(made) == len(rows)
    return [made[f"g{i:06d}"] for i in range(len(rows))]


def one(expression, **row):
    return values(expression, [row], tuple(row))[0]


@pytest.mark.parametrize(
    ("expression", "columns", "expected"),
    [
        # A6: sigmoid of the reward model plus the verifier's offset
        ("shaped_math(a, b, 0.5)", {"a": 2.0, "b": 1.0}, 0.731059),
        ("shaped_math(a, b, 0.5)", {"a": -2.0, "b": 1.0}, 0.268941),
        ("shaped_math(a, b, 0.5)", {"a": 3.0, "b": 0.0}, -0.182426),
        ("shaped_math(a, b, 0.5)", {"a": -1.0, "b": 0.0}, -0.622459),
        ("sigmoid(a)", {"a": -800.0}, 0.0),
        ("sigmoid(a)", {"a": 800.0}, 1.0),
        # D6: a sum of hinges
        ("0.001 * (hinge(a, 2) + hinge(b, 2) + hinge(c, 2))", {"a": 1.5, "b": 2.4, "c": -0.2}, 0.0027),
        ("hinge(a, 2)", {"a": 2.5}, 0.0),
        # B1 and A2: length penalties
        ("length_penalised(a, 500, 0.001)", {"a": 2.0}, 1.5),
        ("log_length_penalised(a, 100, 0.1)", {"a": 2.0}, 1.539483),
        # C4: length bonus, and the penalty without a stop
        ("length_bonus(a)", {"a": 1024.0}, 4.0),
        ("length_bonus(a)", {"a": 512.0}, 2.5),
        ("length_bonus(a, multiplier := 2)", {"a": 256.0}, 2.5),
        ("a + length_bonus(b, 3, 1024, 0.8, 5)", {"a": 1.0, "b": 1024.0}, 5.0),
        ("stop_penalised(a, 'length', 6)", {"a": 1.5}, -4.5),
        ("stop_penalised(a, 'stop', 6)", {"a": 1.5}, 1.5),
        ("clipped(a, -1, 1)", {"a": 3.5}, 1.0),
        ("clipped(a, -1, 1)", {"a": -3.5}, -1.0),
        ("clipped(a, null, 1)", {"a": -3.5}, -3.5),
        # a weighted sum needs no macro
        ("0.25 * a + 0.75 * b", {"a": 2.0, "b": 4.0}, 3.5),
    ],
)
def test_row_wise_combiners(expression, columns, expected):
    assert one(expression, **columns) == pytest.approx(expected, abs=1e-6)


HEADS = {"A": (70.0, 30.0), "B": (74.0, 60.0), "C": (62.0, 20.0), "D": (66.0, 12.0)}


@pytest.mark.parametrize(
    ("degrees", "best", "reward"),
    [(0, "B", 74.0), (-15, "D", 60.645), (-45, "D", 38.184), (20, "B", 90.058)],
)
def test_directional_preference_alignment(degrees, best, reward):
    rows = [{"a": h, "b": v} for h, v in HEADS.values()]
    for expression in (
        f"direction_at(a, b, {degrees})",
        f"direction([a, b], [cos(radians({degrees})), sin(radians({degrees}))])",
        f"direction([a, b], [7 * cos(radians({degrees})), 7 * sin(radians({degrees}))])",
    ):
        found = dict(zip(HEADS, values(expression, rows), strict=True))
        assert max(found, key=found.get) == best
        assert found[best] == pytest.approx(reward, abs=5e-4)
    if degrees == -15:
        assert list(found.values()) == pytest.approx([59.850, 55.949, 54.711, 60.645], abs=5e-4)


def test_the_direction_that_a_prompt_names():
    with duckdb.connect() as connection:
        connection.execute(macros.statement("direction_in_words"))
        said = [connection.execute(f"select direction_in_words({degrees})").fetchone()[0] for degrees in (0, -15, -45, 20)]
    assert said == [[100, 0], [97, -26], [71, -71], [94, 34]]
    # the whole numbers of the prompt, from its meta, give the direction to two digits
    row = {"a": 70.0, "b": 30.0, "meta": '{"direction": [97, -26]}'}
    assert values("direction([a, b], (meta ->> '$.direction')::DOUBLE[])", [row])[0] == pytest.approx(59.850, abs=5e-3)


@pytest.mark.parametrize(
    ("expression", "message"), [("direction([a, b], [1])", "1 numbers for 2"), ("direction([a, b], [0, 0])", "other than 0")]
)
def test_a_direction_that_is_none(expression, message):
    with pytest.raises(StepError, match=message):
        values(expression, [{"a": 1.0, "b": 2.0}])


def group(numbers, prompt="p", column="a"):
    return [{"prompt_id": prompt, column: number} for number in numbers]


def test_group_advantages_are_z_scores_of_the_population():
    rows = group([2.0, -2.0, 3.0, -1.0])
    for row, right in zip(rows, (1.0, 1.0, 0.0, 0.0), strict=True):
        row["b"] = right
    found = values("zscore_within(shaped_math(a, b, 0.5), prompt_id)", rows)
    assert found == pytest.approx([1.352446, 0.436416, -0.458304, -1.330559], abs=1e-6)


def test_windows_within_a_prompt_and_within_the_part():
    rows = group([2.0, 3.0, 6.0], "p") + group([10.0, None], "q")
    assert values("minmax_within(a, prompt_id)", rows) == [0.0, 0.25, 1.0, 0.0, None]
    assert values("rank_within(a, prompt_id)", rows) == [0.0, 1.0, 2.0, 0.0, None]
    assert values("rank_within(a, 0)", rows) == [0.0, 1.0, 2.0, 3.0, None]
    assert values("minmax_within(a, 0)", rows) == [0.0, 0.125, 0.5, 1.0, None]
    assert values("zscore_within(a, 0)", rows)[:4] == pytest.approx([-1.044186, -0.722898, 0.240966, 1.526117], abs=1e-6)
    assert values("rank_within(a, prompt_id)", group([7.0, 2.0, 0.5, 2.0])) == [3.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("number", [0.1, 1 / 3, -7.3, 1e12 + 0.1])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_equal_answers_have_the_z_score_zero(number, size):
    assert values("zscore_within(a, prompt_id)", group([number] * size)) == [0.0] * size


def test_lexicographic_order():
    rows = [{"prompt_id": "p", "a": a, "b": b} for a, b in ((1.0, 0.2), (1.0, 0.9), (0.0, 5.0), (1.0, 0.2), (1.0, None))]
    assert values("lexicographic_within([a, b], prompt_id)", rows) == [1.0, 3.0, 0.0, 1.0, None]
    lot = random.Random(3)
    rows = [{"prompt_id": f"p{i % 5}", "a": float(lot.randrange(3)), "b": lot.random() - 0.5} for i in range(100)]
    found = values("lexicographic_within([a, -b, b], prompt_id)", rows)
    for row, value in zip(rows, found, strict=True):
        mates = [r for r in rows if r["prompt_id"] == row["prompt_id"]]
        assert value == sum((r["a"], -r["b"]) < (row["a"], -row["b"]) for r in mates)


@pytest.mark.parametrize(("k", "expected"), [(2, (0.354523, 0.341591, 0.303886)), (4, (0.261558, 0.337852, 0.400590))])
def test_softmax_choice_is_the_curation_of_self_consuming_loops(k, expected):
    """A7: every tuple of K categories is a prompt; its chance times the share of each answer gives the curated density."""
    p0, reward = (0.5, 0.3, 0.2), (0.0, 1.0, 2.0)
    tuples = list(itertools.product(range(3), repeat=k))
    rows = [{"prompt_id": f"p{i}", "a": reward[c]} for i, chosen in enumerate(tuples) for c in chosen]
    shares = iter(values("softmax_within(a, 1, prompt_id)", rows))
    curated = [0.0, 0.0, 0.0]
    for chosen in tuples:
        chance = 1.0
        for c in chosen:
            chance *= p0[c]
        for c in chosen:
            curated[c] += chance * next(shares)
    assert curated == pytest.approx(expected, abs=2e-6)
    assert values("softmax_within(a, 1, prompt_id)", group([1000.0, 1001.0, None])) == [
        pytest.approx(0.268941, abs=1e-6),
        pytest.approx(0.731059, abs=1e-6),
        None,
    ]


WINDOWS = [
    "zscore_within(a, prompt_id)",
    "zscore_within(a, 0)",
    "minmax_within(a, prompt_id)",
    "softmax_within(a, 3, prompt_id)",
    "lexicographic_within([b, a], prompt_id)",
    "a - sum(a) over (partition by prompt_id)",
    "a - avg(a) over ()",
]


@pytest.mark.parametrize("expression", WINDOWS)
def test_windows_give_the_same_bits_for_any_order_of_rows(expression):
    lot = random.Random(5)
    rows = [
        {
            "generation_id": f"g{i:06d}",
            "prompt_id": f"p{lot.randrange(400):04d}",
            "a": lot.gauss(0, 1) * 10 ** lot.randint(-4, 4),
            "b": float(lot.randrange(2)),
        }
        for i in range(6000)
    ]
    found = Expression(expression, ("a", "b"))
    first = dict(zip(*combined(found, pa.Table.from_pylist(rows)).to_pydict().values(), strict=True))
    for _ in range(3):
        lot.shuffle(rows)
        assert dict(zip(*combined(found, pa.Table.from_pylist(rows)).to_pydict().values(), strict=True)) == first
    if "prompt_id" in expression and "_within" in expression:
        some = [row for row in rows if int(row["prompt_id"][1:]) % 3 == 0]
        again = dict(zip(*combined(found, pa.Table.from_pylist(some)).to_pydict().values(), strict=True))
        assert again == {name: first[name] for name in again}, "a prompt's numbers do not depend on other prompts"


@pytest.mark.parametrize(
    "expression",
    [
        *("a * b", "clipped(a, -1, 1)", "sigmoid(a)", "shaped_math(a, b, 0.5)", "hinge(a, 2)", "length_penalised(b, a, 1)"),
        *("log_length_penalised(b, a, 1)", "length_bonus(a)", "stop_penalised(a, 'stop', 6)", "direction([a, b], [1, 2])"),
        *("direction_at(b, a, 30)", "zscore_within(a, prompt_id)", "minmax_within(a, prompt_id)", "rank_within(a, prompt_id)"),
        *("lexicographic_within([b, a], prompt_id)", "softmax_within(a, 1, prompt_id)"),
    ],
)
def test_a_missing_number_gives_no_score(expression):
    rows = [{"prompt_id": "p", "a": a, "b": 1.0} for a in (2.0, None, 3.0)]
    found = values(expression, rows)
    assert found[1] is None and None not in (found[0], found[2])
    assert values("coalesce(a, -1) * b", rows) == [2.0, -1.0, 3.0]
