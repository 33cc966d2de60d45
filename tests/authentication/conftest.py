"""Fixtures for tests of authentication: those of the operations, which have the same index."""

from tests.operations.conftest import harness, log, noon

__all__ = ["harness", "log", "noon"]
