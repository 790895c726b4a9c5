"""A plugin for pytest: ``pytest_plugins = ["ipv8.test.simulation.plugin"]`` in ``conftest.py``.

It has a fixture ``simulation``. The report of a test that fails has the seed of its simulation and the command that
repeats it. The option ``--simulation-seed`` sets the seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .simulation import SEED_VARIABLE, Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_addoption", "pytest_runtest_makereport", "simulation"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--simulation-seed``."""
    parser.addoption("--simulation-seed", metavar="SEED",
                     help=f"the seed of simulations, instead of {SEED_VARIABLE} in the environment or a random one")


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A running simulation, with a random seed unless one is set."""
    with Simulation(request.config.getoption("--simulation-seed")) as sim:
        yield sim


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the seed to the report of a failed test."""
    outcome: Any = yield
    sim = getattr(item, "funcargs", {}).get("simulation")
    if call.when == "call" and call.excinfo is not None and isinstance(sim, Simulation):
        outcome.get_result().sections.append(("simulation", sim.how_to_replay()))
