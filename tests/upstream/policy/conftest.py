"""Fixtures for tests of the policy."""

import logging

import pytest


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The captured warnings."""
    caplog.set_level(logging.WARNING, "wheelyard")
    return caplog
