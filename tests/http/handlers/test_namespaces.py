"""Namespaces in the Simple API (PEP 752): its version, its lists, and who is shown what."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import make_wheel
from tests.exporting.export_fixture import export_to
from tests.http.in_process import InProcessServer, in_process
from tests.http.index_pages import JSON
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import Action, parse_pattern
from wheelyard.settings.sections import AccessSettings, Settings

HTML = ("accept", "application/vnd.pypi.simple.v1+html")
"""Of a page of links."""
V1 = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server with projects in and outside of the namespace `acme`, which is not granted yet."""
    with in_process(tmp_path) as started:
        for name in ("acme", "acme_core", "other"):
            started.publish(make_wheel(name, "1.0"))
        yield started


def grant(server: InProcessServer, name: str = "acme") -> None:
    """Grant a namespace a minute later, so that all servers know it."""
    server.clock.advance(seconds=60)
    owned = {"name": name, "owners": ["user:ana@acme.dev"]}
    server.index.server.namespaces.add(owned, "local:bo")
    server.clock.advance(seconds=16)


def page(server: InProcessServer, path: str, *headers: tuple[str, str]) -> Any:  # noqa: ANN401
    """Return the JSON at a path."""
    answer = server.get(path, *(headers or (JSON,)))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def token(server: InProcessServer, *projects: str) -> tuple[str, str]:
    """Return the header of somebody who may read these projects."""
    request = TokenRequest(
        name="reader", actions=Action.READ, projects=tuple(map(parse_pattern, projects))
    )
    text = server.index.tokens.create(request, by="local:bo")[0].text
    return "authorization", f"Bearer {text}"


def test_pages_without_a_namespace(server: InProcessServer) -> None:
    """Without a namespace, pages are as before, and the path of the list is that of a project."""
    detail = page(server, "/simple/acme-core/")
    assert detail["meta"] == {"api-version": "1.4"}
    assert "namespaces" not in detail
    assert page(server, "/simple/")["meta"]["api-version"] == "1.4"
    assert server.get("/simple/namespaces").headers["location"] == "/simple/namespaces/"
    assert server.get("/simple/namespace/acme").status == 404


def test_pages_with_a_namespace(server: InProcessServer) -> None:
    """With a namespace, pages in JSON are of version 1.5 and name it, and HTML stays as it is."""
    for _ in range(2):
        page(server, "/simple/acme-core/")
        page(server, "/simple/")
    before = server.get("/simple/acme-core/", HTML).body
    grant(server)

    detail = page(server, "/simple/acme-core/")
    assert detail["meta"] == {"api-version": "1.5"}
    assert detail["namespaces"] == [{"name": "acme", "owned": False}]
    assert page(server, "/simple/other/")["namespaces"] is None
    assert page(server, "/simple/")["meta"]["api-version"] == "1.5"
    assert server.get("/simple/acme-core/", HTML).body == before
    etag = server.get("/simple/acme-core/", JSON).headers["etag"]
    assert server.get("/simple/acme-core/", JSON, ("if-none-match", etag)).status == 304

    server.index.server.namespaces.remove("acme", "local:bo")
    server.clock.advance(seconds=16)
    assert page(server, "/simple/acme-core/")["meta"] == {"api-version": "1.4"}


def test_lists_of_namespaces(server: InProcessServer) -> None:
    """The list has all namespaces, and each says its parent and its children."""
    for name in ("acme", "acme-core", "acme-core-x", "other"):
        grant(server, name)

    names = [each["name"] for each in page(server, "/simple/namespaces")]
    assert names == ["acme", "acme-core", "acme-core-x", "other"]
    assert page(server, "/simple/namespace/acme") == {
        "name": "acme",
        "parent": None,
        "children": ["acme-core"],
    }
    assert page(server, "/simple/namespace/Acme.Core-X")["parent"] == "acme-core"
    assert page(server, "/pypi/simple/namespaces") == page(server, "/simple/namespaces")
    assert server.get("/simple/namespace/nothing").status == 404
    assert server.get("/simple/namespace/a%2Fb").status == 404
    malformed = server.get("/simple/namespace/-acme")
    assert (malformed.status, b"'-acme' is not a project name." in malformed.body) == (404, True)
    assert server.get("/simple/namespaces", ("accept", "text/html")).status == 406
    assert server.get("/simple/namespaces").headers["content-type"] == V1
    plain = server.get("/simple/namespaces", ("accept", "application/json"))
    assert plain.headers["content-type"] == "application/json"


def test_who_is_shown_a_namespace(tmp_path: Path) -> None:
    """Whoever may read no name of a namespace is not told that there is one."""
    settings = Settings(access=AccessSettings(private=True))
    with in_process(tmp_path, settings) as server:
        for name in ("acme_core", "other"):
            server.publish(make_wheel(name, "1.0"))
        grant(server, "acme")
        grant(server, "empty")
        grant(server, "acme-core")
        of_acme, of_core = token(server, "acme", "acme-*"), token(server, "acme-core")
        of_other, of_prefix = token(server, "other"), token(server, "acme-*")

        assert server.get("/simple/namespaces").status == 401
        assert [each["name"] for each in page(server, "/simple/namespaces", of_acme)] == [
            "acme",
            "acme-core",
        ]
        assert page(server, "/simple/namespaces", of_other) == []
        assert len(page(server, "/simple/namespaces", of_prefix)) == 2
        assert len(page(server, "/simple/namespaces", of_core)) == 2
        of_unpublished = token(server, "empty-*")
        assert [each["name"] for each in page(server, "/simple/namespaces", of_unpublished)] == [
            "empty"
        ]
        for name in ("acme", "empty", "nothing"):
            assert server.get(f"/simple/namespace/{name}", of_other).status == 404
        assert server.get("/simple/namespace/acme", ("authorization", "Bearer x")).status == 401


def test_the_page_of_a_project_names_its_namespace(server: InProcessServer) -> None:
    """The page of a project names the namespace if the owners of the namespace have begun it."""
    grant(server)
    server.publish(make_wheel("acme_new", "1.0"))
    assert b"<dt>Namespace</dt><dd><bdi>acme</bdi>" in server.get("/project/acme-new/").body
    assert b"<dt>Namespace</dt>" not in server.get("/project/acme-core/").body

    server.index.server.namespaces.remove("acme", "local:bo")
    server.clock.advance(seconds=16)
    assert b"<dt>Namespace</dt>" not in server.get("/project/acme-new/").body


def test_named_indexes_have_the_same(server: InProcessServer) -> None:
    """A namespace is listed below the path of every index, and on the pages of its projects."""
    server.index.server.index_administration.add({"name": "dev", "read": "anyone"}, "local:bo")
    grant(server)
    server.publish_to("dev", make_wheel("acme_dev", "1.0"))

    assert page(server, "/dev/simple/namespaces") == [{"name": "acme"}]
    assert page(server, "/dev/simple/acme-dev/")["namespaces"] == [{"name": "acme", "owned": True}]


def test_a_project_named_so_has_its_page(server: InProcessServer) -> None:
    """No new project is named `namespaces`, and the page of one from before is where it was."""
    grant(server)
    with pytest.raises(Exception, match="namespaces"):
        server.publish_to("main", make_wheel("namespaces", "1.0"))
    server.publish(make_wheel("namespaces", "1.0"))
    assert page(server, "/simple/namespaces/")["name"] == "namespaces"


def test_patterns_of_the_settings(tmp_path: Path) -> None:
    """A name and its prefix among the private patterns are a namespace that the index owns."""
    access = AccessSettings(private_names=("acme", "acme-*", "team-*"))
    with in_process(tmp_path, Settings(access=access)) as server:
        server.publish(make_wheel("acme_core", "1.0"))
        assert page(server, "/simple/namespaces") == [{"name": "acme"}]
        detail = page(server, "/simple/acme-core/")
        assert detail["namespaces"] == [{"name": "acme", "owned": True}]


def test_a_static_site_has_none(server: InProcessServer, tmp_path: Path) -> None:
    """The pages of a static site have no namespaces, as it has no list of them."""
    grant(server)
    site = tmp_path / "site"
    export_to(server.index, site)
    detail = json.loads((site / "simple" / "acme-core" / "index.json").read_bytes())
    assert detail["meta"] == {"api-version": "1.4"}
