"""The system call filters, run as the kernel would: what they let through and what not, on both architectures."""

from __future__ import annotations

import platform
import struct

import pytest

from engine.errors import StepError
from engine.score.sandbox import filters


def run(program: bytes, number: int, machine: str, argument: int = 0) -> int:
    """What a filter returns for a system call: a small BPF interpreter over the instructions that the filters use."""
    data = struct.pack("=iIQQQQQQQ", number, filters.ARCHITECTURES[machine][0], 0, argument, 0, 0, 0, 0, 0)
    place, held = 0, 0
    while True:
        operation, yes, no, value = struct.unpack_from("=HBBI", program, 8 * place)
        place += 1
        if operation == 0x20:
            (held,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return int(value)
        else:
            met = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[operation]
            place += yes if met else no


@pytest.fixture(params=list(filters.ARCHITECTURES))
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(platform, "machine", lambda: request.param)
    for made in (filters.jail, filters.player, filters.alone):
        made.cache_clear()
    return str(request.param)


def test_every_listed_call_is_refused_and_others_are_not(machine: str) -> None:
    column = filters.ARCHITECTURES[machine][1]
    refused = filters.ERRNO | filters.EPERM
    for made, lists in (
        (filters.jail(), [filters.CALLS]),
        (filters.player(), [filters.CALLS, filters.PLAYER]),
        (filters.alone(), [filters.ALONE]),
    ):
        for names in lists:
            for name, numbers in names.items():
                if numbers[column] >= 0:
                    assert run(made, numbers[column], machine) == refused, name
        read, write = {"x86_64": (0, 1), "aarch64": (63, 64)}[machine]
        assert run(made, read, machine) == run(made, write, machine) == filters.ALLOW
        assert run(made, filters.NEWEST + 1, machine) == run(made, filters.CLONE3[column], machine) == filters.ERRNO | filters.ENOSYS
    assert len(filters.alone()) < len(filters.player()) / 5


def test_arguments_decide_over_sockets_and_processes(machine: str) -> None:
    column = filters.ARCHITECTURES[machine][1]
    socket, clone = filters.SOCKET[column], filters.CLONE[column]
    refused = filters.ERRNO | filters.EPERM
    assert run(filters.jail(), socket, machine, filters.AF_UNIX) == filters.ALLOW
    assert {run(filters.jail(), socket, machine, family) for family in (2, 10, 16, 17)} == {refused}
    fork, thread, namespace = 17, filters.CLONE_THREAD | 0x100, 0x10000000 | 17
    assert [run(filters.jail(), clone, machine, flags) for flags in (fork, thread, namespace)] == [filters.ALLOW, filters.ALLOW, refused]
    assert [run(filters.alone(), clone, machine, flags) for flags in (fork, thread, namespace)] == [refused, filters.ALLOW, refused]


def test_a_foreign_instruction_set_kills(machine: str) -> None:
    other = next(name for name in filters.ARCHITECTURES if name != machine)
    assert run(filters.jail(), 0, other) == filters.KILL


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    filters.jail.cache_clear()
    assert not filters.supported()
    with pytest.raises(StepError, match="riscv64"):
        filters.jail()
