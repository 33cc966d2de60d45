"""
Dependency confusion: no public package ever takes the place of a private one.

The server has `acme-core` 1.0; the upstream has 99.0 of it, and public packages. "Silent" means
that the upstream saw no request about the name.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.harness import Sandbox, wheelyard
from tests.distributions import make_sdist
from tests.http.packages import post, publish
from tests.http.servers import RunningServer, running_server
from tests.upstream.fake_pages import JSON, Fault
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import SOURCE, file_of, link_of, look, page_of
from tests.upstream.settings import upstream_settings
from tests.waiting import until

pytestmark = pytest.mark.integration

SPELLINGS = ("Acme_Core", "ACME.core", "acme--core", "acme%2Dcore", "acme-core")
ROUTES = (
    "/simple/{}/",
    "/simple/{}",
    "/pypi/{}/json",
    "/pypi/{}/99.0/json",
    "/project/{}/",
    "/project/{}/99.0/",
    "/project/{}/history/",
    "/project/{}/feed.xml",
    "/{}/",
    "/api/v1/projects/{}",
    "/files/{}/acme_core-99.0-py3-none-any.whl",
)
"""Every route that speaks of a project."""


@pytest.fixture(scope="module")
def public() -> Iterator[FakeUpstream]:
    """The public index, in which a stranger has published our name."""
    with running_fake_upstream() as upstream:
        for name in ("acme-core", "emptied", "shadowed", "asked-for", "requests"):
            upstream.publish(public_wheel(name, "99.0"))
        upstream.publish(make_sdist("requests", "99.0"))
        yield upstream


@pytest.fixture(scope="module")
def index(
    public: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """Serve an index before the public one."""
    config = upstream_settings(public, 'shadow = ["shadowed", "emptied"]')
    with running_server(tmp_path_factory.mktemp("front"), config=config) as server:
        publish_early(server, "acme-core")
        yield server


def publish_early(server: RunningServer, name: str) -> None:
    """Publish a private package into the store, as before there was an upstream."""
    package = private_wheel(name, "1.0")
    file = server.folder / package.filename
    file.write_bytes(package.body)
    command = ("upload", "--store", server.store, file)
    # which finds no settings there
    wheelyard(Sandbox(server.folder / "sandbox", server.folder / "home"), *command)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("accept", [JSON, "text/html", "*/*"])
def test_private_page(
    index: RunningServer, public: FakeUpstream, spelling: str, accept: str
) -> None:
    """The page of a private name has the private files, however the name is spelled."""
    for method in ("GET", "HEAD"):
        answer = index.client.request(
            method, f"/simple/{spelling}/", headers={"Accept": accept}, follow_redirects=True
        )
        assert answer.status_code == 200
        assert b"99.0" not in answer.content
        if method == "GET":
            assert b"acme_core-1.0" in answer.content
    assert public.asked("acme-core") == []


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_asks_for_a_private_name(
    index: RunningServer, public: FakeUpstream, route: str
) -> None:
    """No route shows a public version of a private name, and none asks for one."""
    for spelling in SPELLINGS:
        answer = index.client.get(route.format(spelling), follow_redirects=True)
        assert answer.status_code in {200, 404}
        assert b"WHO" not in answer.content
        assert b"-99.0-" not in answer.content or answer.status_code == 404
    assert public.asked("acme-core") == []


def test_files_of_private_names(index: RunningServer, public: FakeUpstream) -> None:
    """Files and metadata of a private name are its own; a public digest under its name is none."""
    (stranger,) = public.projects["acme-core"].files
    own = private_wheel("acme-core", "1.0")
    stolen = f"/files/acme-core/{stranger.sha256}/{stranger.filename}"

    assert file_of(index, "acme-core", own.filename).body == own.body
    assert file_of(index, "acme-core", own.filename, ".metadata").body == own.metadata
    for suffix in ("", ".metadata"):
        assert look(index, stolen + suffix).status == 404
        assert look(index, f"/packages/{stranger.filename}{suffix}").status == 404
    assert public.asked("acme-core") == []


def test_public_page_and_files(index: RunningServer, public: FakeUpstream) -> None:
    """A public name comes from the upstream, and its links lead to this server."""
    package = public_wheel("requests", "99.0")

    page = page_of(index, "requests")

    assert page.headers[SOURCE] == "upstream"
    assert set(page.files) == {package.filename, "requests-99.0.tar.gz"}
    assert public.places.files.encode() not in page.body
    assert file_of(index, "requests", package.filename).body == package.body
    assert file_of(index, "requests", package.filename, ".metadata").body == package.metadata
    assert page_of(index, "acme-core").headers.get(SOURCE) in {None, "private"}


def test_file_of_another_name(index: RunningServer, public: FakeUpstream) -> None:
    """A public digest is served under its own project and filename only."""
    package = public_wheel("requests", "99.0")
    link = link_of(index, "requests", package.filename)
    for wrong in (
        link.replace(package.filename, "requests-98.0-py3-none-any.whl"),
        link.replace("/requests/", "/asked-for/"),
        link.replace("/requests/", "/acme-core/"),
        link.replace(package.sha256, "0" * 64),
    ):
        assert look(index, wrong).status == 404, wrong
        assert look(index, f"{wrong}.metadata").status == 404, wrong
    assert public.asked("acme-core") == []


def test_all_files_deleted(index: RunningServer, public: FakeUpstream) -> None:
    """A name whose files are all deleted stays private, and no upstream index is asked for it."""
    publish(index, private_wheel("emptied", "1.0"))
    index.change("emptied", "delete", version="1.0")

    page = page_of(index, "emptied")

    assert (page.page["files"], page.page.get("versions", [])) == ([], [])
    assert public.asked("emptied") == []


def test_pattern_of_private_names(index: RunningServer, public: FakeUpstream) -> None:
    """A name that matches a pattern is private before it exists, and its upload asks nobody."""
    public.publish(public_wheel("team-new", "99.0"))
    for spelling in ("team-new", "Team_New", "TEAM.new"):
        answer = index.client.get(f"/simple/{spelling}/", follow_redirects=True)
        assert answer.status_code == 200
        assert b"99.0" not in answer.content

    assert page_of(index, "team-new").page["files"] == []
    publish(index, private_wheel("team-new", "1.0"))

    assert list(page_of(index, "team-new").files) == ["team_new-1.0-py3-none-any.whl"]
    assert public.asked("team-new") == []


def test_upload_of_a_public_name(index: RunningServer, public: FakeUpstream) -> None:
    """An upload of a public name is refused with 403, and nothing of it is kept."""
    public.publish(public_wheel("taken", "1.0"))
    before = index.kept()

    answer = post(index, private_wheel("taken", "2.0"))

    assert answer.status_code == 403
    assert "upstream.shadow" in answer.text
    for misleading in ("already exist", "already been taken", "overwrite artifact"):
        assert misleading not in answer.text
    assert index.kept() == before
    assert list(page_of(index, "taken").files) == ["taken-1.0-py3-none-any.whl"]


def test_upload_of_a_name_that_was_missing(index: RunningServer, public: FakeUpstream) -> None:
    """A name that was missing upstream a moment ago, and is published there now, is refused."""
    assert page_of(index, "just-now").status == 404
    public.publish(public_wheel("just-now", "1.0"))

    assert post(index, private_wheel("just-now", "2.0")).status_code == 403
    assert list(page_of(index, "just-now").files) == ["just_now-1.0-py3-none-any.whl"]


def test_upload_of_a_shadowed_name(index: RunningServer, public: FakeUpstream) -> None:
    """A name in `shadow` becomes private with its upload; its public page and files are gone."""
    package = public_wheel("shadowed", "99.0")
    link = link_of(index, "shadowed", package.filename)
    assert look(index, link).status == 200

    publish(index, private_wheel("shadowed", "1.0"))

    asked = len(public.asked("shadowed"))
    assert list(page_of(index, "shadowed").files) == ["shadowed-1.0-py3-none-any.whl"]
    assert look(index, link).status == 404
    assert look(index, f"{link}.metadata").status == 404
    assert len(public.asked("shadowed")) == asked


def test_upload_while_the_page_is_fetched(index: RunningServer, public: FakeUpstream) -> None:
    """A name that is published while its public page is on its way shows private files only."""
    public.publish(public_wheel("team", "99.0"))
    gate = public.hold("team")
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(page_of, index, "team")
        until(lambda: bool(public.asked("team")))
        publish_early(index, "team")
        gate.set()
        seen = page.result()

    assert "99.0" not in seen.body.decode()
    assert list(page_of(index, "team").files) == ["team-1.0-py3-none-any.whl"]


def test_foreign_files_are_dropped(index: RunningServer, public: FakeUpstream) -> None:
    """A file of another project on a public page is not shown."""
    public.publish(public_wheel("stuffed", "1.0"))
    public.behave("stuffed", Fault.FOREIGN_FILE)

    assert list(page_of(index, "stuffed").files) == ["stuffed-1.0-py3-none-any.whl"]
    assert public.asked("acme-core") == []


@pytest.mark.parametrize("fault", [Fault.NAME_MISMATCH, Fault.REDIRECT_NAME])
def test_page_of_another_name(index: RunningServer, public: FakeUpstream, fault: Fault) -> None:
    """A public page that is another project's is an error of the upstream."""
    name = f"liar-{fault.replace('_', '-')}"
    public.publish(public_wheel(name, "1.0"))
    public.behave(name, fault)

    assert page_of(index, name).status == 502


def test_project_list(index: RunningServer) -> None:
    """The list of projects has private names only."""
    page_of(index, "requests")

    names = {each["name"] for each in look(index, "/simple/", accept=JSON).page["projects"]}

    assert "acme-core" in names
    assert "requests" not in names


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("\u0430cme-core", 404),
        ("acme\u2010core", 404),
        ("acme-core%00", 400),
        ("x" * 300, 404),
        ("a b", 404),
    ],
)
def test_odd_names(index: RunningServer, public: FakeUpstream, name: str, status: int) -> None:
    """A name that no project can have, such as one with a Cyrillic letter, is asked for nowhere."""
    before = len(public.requests)

    assert index.client.get(f"/simple/{name}/").status_code == status
    assert len(public.requests) == before
