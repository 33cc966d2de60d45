"""What the client of a server's API does without a server, or before it answers."""

import random
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec import structs

from wheelyard.api.project_operations import ProjectsQuery, list_projects
from wheelyard.api.remote_api import RemoteApi
from wheelyard.api_client import HIDDEN, ApiConnection, SecretFilter, parse_server
from wheelyard.errors import Unavailable
from wheelyard.http_client.client import Requester
from wheelyard.http_client.hosts import FetchError
from wheelyard.model.distribution_filename import parse_name
from wheelyard.operations.journal_reader import BEGINNING
from wheelyard.wiring.stores import system_runtime

URL = "https://packages.acme.dev/"
DEMO = parse_name("demo")


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were asked for, of a server that does not run."""
    tries = list[str]()

    def fail(_: Requester, __: str, url: object, *___: object) -> None:
        tries.append(str(url))
        raise FetchError("it cannot be reached", is_transient=True)

    monkeypatch.setattr(Requester, "send", fail)
    return tries


@pytest.fixture
def api() -> Iterator[RemoteApi]:
    """A server whose client makes no pauses."""
    runtime = structs.replace(system_runtime(), pause=lambda _: None, random=random.Random(1))
    with closing(ApiConnection(parse_server(URL), None, runtime)) as connection:
        yield RemoteApi(connection)


def test_a_server_that_does_not_run_is_named(api: RemoteApi, tries: list[str]) -> None:
    """A server that cannot be reached is tried three times, and then named."""
    with pytest.raises(Unavailable, match=f"No answer from {URL}: it cannot be reached"):
        api.call(list_projects, ProjectsQuery())

    assert len(tries) == 3


def test_the_journal_of_one_project_is_watched_alone(api: RemoteApi, tries: list[str]) -> None:
    """Who follows the journal of one project asks for no list, and is shown no other project."""
    assert api.journals(DEMO).changed(BEGINNING) == ((DEMO,), [])
    assert tries == []


@pytest.mark.parametrize(
    ("password", "text", "shown"),
    [
        ("demo", "ana has sent demo.", HIDDEN),
        ("demo", "ana has sent DEMO.", "ana has sent DEMO."),
        ("abc", "ana has sent abc.", "ana has sent abc."),
    ],
)
def test_a_short_password_is_hidden_as_it_is_written(password: str, text: str, shown: str) -> None:
    """A message with a password of at least four characters is hidden, however short that is."""
    header = f"Basic {b64encode(f'ana:{password}'.encode()).decode()}"

    assert SecretFilter(header).message(text) == shown
