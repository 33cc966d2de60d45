"""The journals of a server, page by page."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.sources.web.fake_server import CannedResponse, FakeServer, running_fake_server
from wheelyard.api_client.connection import ApiConnection, parse_server
from wheelyard.api_client.remote_index import RemoteIndex
from wheelyard.model.distribution_filename import parse_name
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

DEMO = parse_name("demo")


def page(*numbers: int, after: int) -> CannedResponse:
    """Return a page of a journal of five commits."""
    commits = [{"number": each, "id": "x", "previous": "", "events": []} for each in numbers]
    fields = {"name": "demo", "revision": 5, "commits": commits}
    if after < 5:
        fields["next"] = after
    return CannedResponse(json.dumps(fields).encode())


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Run a server."""
    with running_fake_server() as running:
        yield running


@pytest.mark.parametrize(
    ("wanted", "requests"), [(5, ["0", "3", "2"]), (2, ["0", "3"]), (3, ["0", "3", "2"])]
)
def test_newest_first(server: FakeServer, wanted: int, requests: list[str]) -> None:
    """Commits come newest first, a lost one as None, and no page is read that nobody needs."""
    path = "/api/v1/projects/demo/journal"
    server.serve(path, page(1, 2, after=2), page(4, 5, after=5), page(4, after=4))
    connection = ApiConnection(parse_server(server.url), None, system_runtime())
    with closing(RemoteIndex(connection)) as index:
        commits = index.journals(DEMO).commits(DEMO, 0)
        found = [next(commits) for _ in range(wanted)]

        assert [number for number, _ in found] == [5, 4, 3, 2, 1][:wanted]
        assert [number for number, commit in found if commit is None] == [3][: wanted - 2]
    assert [each.path.rpartition("=")[2] for each in server.seen] == requests
