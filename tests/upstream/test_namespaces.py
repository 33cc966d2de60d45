"""Namespaces beside an upstream index: their names are private, and public ones go."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.http.in_process import InProcessServer
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import look, page_of
from tests.upstream.settings import front
from wheelyard.errors import Conflict

ACME = {"name": "acme", "owners": ["user:ana@acme.dev"]}


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[InProcessServer]:
    """A server before an upstream index that has projects of that name."""
    for name in ("acme_core", "acme_unused", "requests"):
        upstream.publish(public_wheel(name, "1.0"))
    with front(tmp_path, upstream) as started:
        yield started


def test_nobody_is_asked_for_its_names(server: InProcessServer, upstream: FakeUpstream) -> None:
    """No upstream index is asked for names of a namespace, from its grant to its end."""
    server.index.server.namespaces.add(ACME, "local:bo")

    assert page_of(server, "acme-core").page["files"] == []
    assert page_of(server, "requests").files
    assert upstream.asked("acme-core") == []

    server.index.server.namespaces.remove("acme", "local:bo")
    server.clock.advance(seconds=16)
    assert page_of(server, "acme-core").files


def test_public_names_in_use_are_asked_about(server: InProcessServer) -> None:
    """A namespace that would hide public packages in use names them, until somebody confirms."""
    before = page_of(server, "acme-core")
    assert before.files
    server.index.upstream.pages.flush()  # type: ignore[union-attr]
    namespaces = server.index.server.namespaces
    with pytest.raises(Conflict) as refused:
        namespaces.add(ACME, "local:bo")
    assert refused.value.code == "hides_public_names"
    assert "acme-core" in refused.value.message
    assert "acme-unused" not in refused.value.message
    assert not namespaces.load().all

    namespaces.add(ACME, "local:bo", even_if_public=True)

    server.clock.advance(seconds=16)
    assert page_of(server, "acme-core").page["files"] == []
    assert look(server, "/project/acme-core/", accept="text/html").status == 404
    assert b"acme-core" not in look(server, "/search.json?q=acme").body


def test_a_namespace_is_private_in_every_index(
    server: InProcessServer, upstream: FakeUpstream
) -> None:
    """In a named index with an upstream layer, the names of a namespace are private, too."""
    administration = server.index.server.index_administration
    administration.add({"name": "dev", "layers": ["dev", "upstream"], "read": "anyone"}, "local:bo")
    server.index.server.namespaces.add(ACME, "local:bo")
    json = "application/vnd.pypi.simple.v1+json"
    assert look(server, "/dev/simple/acme-core/", accept=json).page["files"] == []
    assert look(server, "/dev/simple/requests/", accept=json).files
    assert upstream.asked(NormalizedName("acme-core")) == []
