from collections import Counter

import pytest

from engine.errors import StepError
from engine.train.order import as_selected, plan

IDS = [f"row{i:03d}" for i in range(103)]


def named(ids: list[str], **more) -> list[list[str]]:
    given = {"batch_size": 8, "epochs": 1.0, "max_steps": None, "seed": 1, "round_": 0} | more
    return [[ids[i] for i in batch] for batch in plan(ids, **given)]


def test_an_epoch_has_every_row_once_and_only_one_batch_that_is_not_full():
    batches = named(IDS)
    assert Counter(row for batch in batches for row in batch) == Counter(IDS)
    assert [len(batch) for batch in batches] == [8] * 12 + [7]


def test_the_plan_does_not_depend_on_the_order_in_which_rows_come():
    assert named(IDS[::-1], epochs=2) == named(IDS, epochs=2)


def test_seed_and_round_change_the_plan_and_epochs_differ():
    base = named(IDS)
    assert base != named(IDS, seed=2)
    assert base != named(IDS, round_=1)
    two = named(IDS, epochs=2)
    assert two[:13] == base
    assert two[13:] != base


def test_max_steps_takes_as_many_epochs_as_it_needs_and_cuts_the_last():
    batches = named(IDS, max_steps=30)
    assert len(batches) == 30
    counts = Counter(row for batch in batches for row in batch)
    assert set(counts) == set(IDS)
    assert set(counts.values()) == {2, 3}


def test_a_part_of_an_epoch():
    assert len(named(IDS, epochs=0.5)) == 6
    assert len(named(IDS, epochs=0.001)) == 1


def test_fewer_rows_than_a_batch():
    assert [sorted(b) for b in named(IDS[:3], max_steps=4)] == [IDS[:3]] * 4


def test_no_rows():
    with pytest.raises(StepError, match="no rows"):
        plan([], batch_size=4, epochs=1, max_steps=None, seed=0, round_=0)


ORDERED = {"batch_size": 8, "epochs": 1.0, "max_steps": None}


def test_rows_in_the_order_of_the_selection_with_ties_by_id():
    orders = [float(i % 5) for i in range(len(IDS))]
    batches = as_selected(IDS, orders, **ORDERED)
    found = [IDS[i] for batch in batches for i in batch]
    assert found == [row for _, row in sorted(zip(orders, IDS, strict=True))]
    assert [len(batch) for batch in batches] == [8] * 12 + [7]
    back = as_selected(IDS[::-1], orders[::-1], **ORDERED)
    assert [IDS[::-1][i] for batch in back for i in batch] == found, "not the order in which the rows came"


def test_epochs_repeat_the_order_and_max_steps_cuts_it():
    orders = [float(-i) for i in range(len(IDS))]
    once = as_selected(IDS, orders, **ORDERED)
    assert once[0][0] == len(IDS) - 1
    assert as_selected(IDS, orders, **ORDERED | {"epochs": 2.0}) == once + once
    assert as_selected(IDS, orders, **ORDERED | {"max_steps": 15}) == (once + once)[:15]
    assert as_selected(IDS, orders, **ORDERED | {"epochs": 0.5}) == once[:6]


@pytest.mark.parametrize("lost", [None, float("nan")])
def test_a_row_without_an_order_is_named(lost):
    with pytest.raises(StepError, match=r'1 of 3 rows have no `order`, such as row b[^\n]*\n.* a number as "order"'):
        as_selected(["a", "b", "c"], [1.0, lost, 2.0], **ORDERED)
    with pytest.raises(StepError, match="no rows"):
        as_selected([], [], **ORDERED)
