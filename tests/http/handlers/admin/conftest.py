"""One index for each module."""

from collections.abc import Iterator

import pytest

from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in
from tests.http.in_process import InProcessServer, in_process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An index without projects."""
    folder = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder), tables=TABLES) as opened:
        yield opened


@pytest.fixture
def admin(server: InProcessServer) -> Administrator:
    """The administrator, who has signed in."""
    return Administrator.of(server)
