"""Tests of this folder that take a `rig` run for every backend, those that take `sampler` for every one that draws its answers."""

from collections.abc import Callable, Iterator

import pytest

from generate.conformance.known import RIGS
from generate.conformance.rigs import Rig


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[type[Rig]], Rig]]:
    """A backend's rig, made when it is first wanted."""
    known: dict[type[Rig], Rig] = {}

    def get(kind: type[Rig]) -> Rig:
        if kind not in known:
            known[kind] = kind(tmp_path_factory.mktemp(kind.__name__))
        return known[kind]

    yield get
    for rig in known.values():
        rig.close()


@pytest.fixture(scope="session", params=RIGS, ids=lambda kind: kind.__name__)
def rig(request: pytest.FixtureRequest, made: Callable[[type[Rig]], Rig]) -> Rig:
    """A backend with what it answers from."""
    return made(request.param)


@pytest.fixture(scope="session", params=[kind for kind in RIGS if kind.sampled], ids=lambda kind: kind.__name__)
def sampler(request: pytest.FixtureRequest, made: Callable[[type[Rig]], Rig]) -> Rig:
    """A backend that draws its answers."""
    return made(request.param)
