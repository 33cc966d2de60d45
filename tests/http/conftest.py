"""Servers for the HTTP tests: one of each kind for each module."""

from collections.abc import Iterator

import pytest

from tests.http.packages import PYTHON, publish, sdist, wheel
from tests.http.servers import Site, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that anyone may read, with a root of its own called acme, and nothing in it."""
    config = '[server]\nroots = ["acme"]\n'
    with running_site(tmp_path_factory.mktemp("open"), config=config) as site:
        yield site


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server where reading needs a token, with a secret family of names."""
    config = '[access]\nprivate_names = ["secret-*"]\n'
    with running_site(tmp_path_factory.mktemp("private"), "--private", config=config) as site:
        publish(site, wheel("demo"), wheel("acme-core"), wheel("secret-plan"))
        yield site


@pytest.fixture(scope="module")
def stocked(site: Site) -> Site:
    """The open server with the projects demo (wheels and an sdist), epoch and local."""
    publish(
        site,
        wheel("demo", "1.0", f"Requires-Python: {PYTHON}", "Summary: A demo of <b>it</b>"),
        sdist("demo", "1.0", f"Requires-Python: {PYTHON}"),
        wheel("demo", "1.1", "Requires-Python: >=3.10", "Summary: A demo of <b>it</b>"),
        wheel("epoch", "2!1.0"),
        wheel("local", "1.0+cu121"),
    )
    return site
