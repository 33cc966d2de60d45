"""Loads what every test run has in common: options, workers, and the reports at the end."""

pytest_plugins = [
    "tests.plugins.garbage",
    "tests.plugins.isolation",
    "tests.plugins.limit",
    "tests.plugins.properties",
    "tests.plugins.results",
    "tests.plugins.scheduling",
    "tests.plugins.skips",
    "tests.plugins.durations",
    "tests.services.fixtures",
]
