"""
Spares the garbage collector what lives as long as the run: modules, and thousands of tests.

A full collection looks at every object, half a second each time, which was a sixth of all work.
"""

import gc


def pytest_configure() -> None:
    """Collect no garbage while modules are imported."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what is there now out of all collections."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()
