"""What tests of scorers that run code share."""

import pytest

from engine.errors import StepError
from engine.score import sandbox


@pytest.fixture(scope="session")
def jail():
    """A test that asks for it needs a jail, and is skipped with the reason where none can be had."""
    try:
        sandbox.available()
    except StepError as error:
        pytest.skip(str(error))
