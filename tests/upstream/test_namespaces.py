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
from wheelyard.model.index_file import read_tables
from wheelyard.operations.applying import ApplyOptions, SourcedTables

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


def test_a_file_asks_about_public_names_in_use(server: InProcessServer) -> None:
    """A file whose namespace hides public packages in use names them, until somebody confirms."""
    assert page_of(server, "acme-core").files
    server.index.upstream.pages.flush()  # type: ignore[union-attr]
    applying = server.index.server.applying
    file = SourcedTables("team.toml", read_tables({"namespace": [ACME]}, ()))
    (shown,) = applying.apply([file], "local:bo", ApplyOptions(dry_run=True))
    with pytest.raises(Conflict) as refused:
        applying.apply([file], "local:bo", ApplyOptions())
    assert refused.value.code == "hides_public_names"
    assert refused.value.message.endswith("would not be served any more: acme-core.")
    assert shown.problems == (refused.value.message,)
    assert not applying.show().namespace

    applying.apply([file], "local:bo", ApplyOptions(even_if_public=True))

    assert applying.show().namespace == (ACME,)


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
