"""A run of all tests says which of them are slower than they were."""

import pytest

from tests.plugins.durations import slower_folders

RECORDED = {"tests/a": 40.0, "tests/b": 20.0, "tests/c": 10.0}


@pytest.mark.parametrize("pace", [0.5, 1.0, 3.0])
def test_a_slower_machine_is_not_told_of(pace: float) -> None:
    """If all folders take longer by the same factor, none of them is told of."""
    seconds = {name: pace * recorded for name, recorded in RECORDED.items()}

    assert list(slower_folders(seconds, RECORDED)) == []


@pytest.mark.parametrize("pace", [0.5, 1.0, 3.0])
def test_a_folder_that_takes_twice_as_long_is_told_of(pace: float) -> None:
    """A folder that takes twice what it took beside the others is told of, on any machine."""
    seconds = {name: pace * recorded for name, recorded in RECORDED.items()}
    seconds["tests/a"] *= 2

    (line,) = slower_folders(seconds, RECORDED)

    assert line == f"tests/a took {80 * pace:.0f} s, and {40 * pace:.0f} s at the pace before"


def test_a_new_folder_is_not_slower() -> None:
    """A folder that nobody has recorded is no slower than before, and nor is one of moments."""
    seconds = {**RECORDED, "tests/new": 500.0, "tests/d": 4.0}

    assert list(slower_folders(seconds, {**RECORDED, "tests/d": 1.5})) == []
