"""The window of requests in flight: it bends to overload and not to chance."""

from __future__ import annotations

import asyncio
import random

import pytest

from engine.server.window import FULL, Window


def run(work):
    return asyncio.run(work())


def test_failures_by_chance_leave_the_window_alone():
    async def work():
        window, dice, sizes = Window(32), random.Random(1), []
        for _ in range(20_000):
            window.failed(window.now()) if dice.random() < 0.1 else window.good()
            sizes.append(window.limit)
        return sizes

    sizes = run(work)
    assert sum(sizes) / len(sizes) > 31


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_failures_that_outnumber_it_halve_the_window(share):
    async def work():
        window, dice = Window(32), random.Random(1)
        for _ in range(2000):
            window.failed(window.now()) if dice.random() < share else window.good()
        return window.limit

    assert 1 <= run(work) < 4


def test_of_the_tries_that_were_in_flight_together_one_overload_counts():
    async def work():
        window = Window(32)
        began = window.now()
        await asyncio.sleep(0.01)
        for _ in range(32):
            window.failed(began)
        return window.limit

    assert run(work) == 16


def test_a_few_failures_in_a_row_ask_nobody_to_wait():
    async def work():
        window = Window(4)
        for _ in range(int(FULL) - 1):
            window.failed(window.now(), pause=60)
        await asyncio.wait_for(window.enter(), 5)
        window.failed(window.now(), pause=60)  # now it is an overload, and who enters waits
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(window.enter(), 0.05)
        return window.busy

    assert run(work) == 1


def test_who_tries_again_goes_first():
    async def work():
        window, order = Window(1), []
        await window.enter()

        async def one(name, again):
            await window.enter(again)
            order.append(name)
            await window.leave()

        async with asyncio.TaskGroup() as group:
            for name, again in (("new 1", False), ("new 2", False), ("again 1", True), ("again 2", True)):
                group.create_task(one(name, again))
                await asyncio.sleep(0)
            await window.leave()
        return order

    assert run(work) == ["again 1", "again 2", "new 1", "new 2"]
