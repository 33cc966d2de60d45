"""Fixtures for tests of authentication: those of the operations, which have the same index."""

from tests.operations.conftest import log, noon, world

__all__ = ["log", "noon", "world"]
