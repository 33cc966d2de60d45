"""Errors that a test expects by their class and their code."""

from typing import TypeVar

import pytest

from wheelyard.errors import WheelyardError

E = TypeVar("E", bound=WheelyardError)


def refused(kind: type[E], code: str, match: str | None = None) -> pytest.RaisesExc[E]:
    """Return what `pytest.raises` returns, for an error with this code."""
    return pytest.raises(kind, match=match, check=lambda fault: fault.code == code)
