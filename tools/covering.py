"""A plugin of pytest for `tools/mutants.py`: which test runs which line, and which runs first."""

import os
from collections.abc import Iterator

import pytest
from coverage import Coverage

PARENT = os.getppid()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the test functions that are run before all others."""
    parser.addoption("--first", action="append", default=[])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put some test functions before the others, and leave the order as it is otherwise."""
    first = frozenset(config.getoption("--first"))
    items.sort(key=lambda item: _function(item) not in first)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell coverage in whose name lines are run from now on, by fixtures too."""
    if os.getppid() != PARENT:
        pytest.exit("tools/mutants.py has been stopped")
    measured = Coverage.current()
    if measured is not None:
        measured.switch_context(_function(item))
    return (yield)


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
