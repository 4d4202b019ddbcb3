import pytest

from tests.apps.world import World


@pytest.fixture
def world() -> World:
    return World()
