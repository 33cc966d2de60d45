"""Wrong URLs of upstream indexes: no name is free because there is nothing that could have it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.cli.conftest import Typed, wheelyard  # noqa: F401 - a fixture
from tests.clients.harness import Sandbox
from tests.http.packages import post_form
from tests.metrics import samples
from tests.upstream.asking import Asking, server_of
from tests.upstream.fake_pages import HTML, JSON, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import page_of
from tests.upstream.settings import front, upstream_settings
from wheelyard.errors import Unavailable
from wheelyard.http_client.urls import parse_url
from wheelyard.storage.local import LocalStore

SIX = public_wheel("six", "1.0")
NEW = canonicalize_name("new")
PORTAL = (200, HTML, b'<html><a href="/login">Sign in</a></html>')
ROOTS = [
    (404, "text/plain", b"Not Found"),
    (403, "text/plain", b"Forbidden"),
    (401, "text/plain", b"Who are you?"),
    (500, "text/plain", b"Sorry"),
    (200, HTML, b""),
    PORTAL,
    (200, JSON, b'{"meta": {"api-version": "1.0"}, "name": "six", "files": []}'),
]


@pytest.fixture
def silent_upstream(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream that has `six`, and whose root shows nothing."""
    upstream.publish(SIX)
    upstream.root = ROOTS[0]
    return upstream


@pytest.fixture
def asking_process(silent_upstream: FakeUpstream) -> Iterator[Asking]:
    """One process that asks the upstream."""
    asking = Asking((server_of(silent_upstream),))
    yield asking
    asking.close()


def refuses(asking: Asking, name: str = "new") -> bool:
    """Return whether nobody can say that a name is free, since nothing shows an index."""
    try:
        return asking.pages.ask(canonicalize_name(name))
    except Unavailable as fault:
        return fault.code == "upstream_unproven"


def test_a_host_that_answers_everything(
    asking_process: Asking, silent_upstream: FakeUpstream
) -> None:
    """Where no answer can be used, an upload is told that the URL may be wrong, not the answer."""
    silent_upstream.root = PORTAL
    silent_upstream.behave("new", Fault.NAME_MISMATCH)
    silent_upstream.publish(public_wheel("new", "1.0"))

    assert refuses(asking_process)
    with pytest.raises(Unavailable, match="cannot be used"):
        asking_process.page("new")


@pytest.mark.parametrize("root", ROOTS, ids=str)
def test_a_root_that_shows_nothing(
    asking_process: Asking, silent_upstream: FakeUpstream, root: tuple[int, str, bytes]
) -> None:
    """No name is free before one page of the index was read; then names are, in each process."""
    silent_upstream.root = root
    assert refuses(asking_process)
    # the metrics tell what the root has answered
    requests = samples(asking_process.observation.registry, "wheelyard_upstream_requests_total")
    assert requests["root", str(root[0])] == 1
    other = asking_process.again()
    assert refuses(other)

    asking_process.page("six")

    asked = len(silent_upstream.requests)
    for process in (asking_process, other, asking_process.again()):
        assert not refuses(process)
    assert [each.path for each in silent_upstream.requests[asked:]] == ["/simple/new/"] * 3


def test_a_root_that_shows_an_index(asking_process: Asking, silent_upstream: FakeUpstream) -> None:
    """A root that lists projects is enough; it is asked for once, and only before an upload."""
    silent_upstream.root = None
    assert asking_process.found("new") is None
    assert [each.path for each in silent_upstream.requests] == ["/simple/new/"]

    for _ in range(2):
        assert not asking_process.pages.ask(NEW)
    assert [each.path for each in silent_upstream.requests].count("/simple/") == 1


def test_a_huge_root(asking_process: Asking, silent_upstream: FakeUpstream) -> None:
    """Of a root that never ends the start is read."""
    start = b'{"meta": {"api-version": "1.0"}, "projects": ['
    silent_upstream.root = (200, JSON, start + b'{"name": "six"}, ' * 500_000)

    assert not refuses(asking_process)


def test_a_root_that_is_corrected(asking_process: Asking, silent_upstream: FakeUpstream) -> None:
    """A root that showed nothing is not asked for by each upload, and again some seconds later."""
    for _ in range(3):
        assert refuses(asking_process)
    assert [each.path for each in silent_upstream.requests].count("/simple/") == 1
    silent_upstream.root = None
    asking_process.clock.advance(seconds=6)

    assert not refuses(asking_process)


def test_a_page_without_files(asking_process: Asking, silent_upstream: FakeUpstream) -> None:
    """A page without files proves nothing: the list of all projects looks like one, too."""
    silent_upstream.behave("six", Fault.QUARANTINED)
    silent_upstream.projects["six"].files = []
    asking_process.page("six")

    assert refuses(asking_process)
    assert refuses(asking_process.again())


def test_each_of_several(silent_upstream: FakeUpstream) -> None:
    """Each index that is asked for a name has to be one; another URL or label begins anew."""
    first = server_of(silent_upstream)
    second = replace(first, label="second", url=parse_url(f"{silent_upstream.places.index}/wrong/"))
    asking = Asking((first, second))
    asking.page("six")
    assert not refuses(Asking((first,), store=asking.store))

    with pytest.raises(Unavailable, match=r"/wrong/ of the upstream index second has not shown"):
        asking.pages.ask(NEW)
    assert refuses(Asking((replace(first, label="other"),), store=asking.store))
    asking.close()


@pytest.mark.parametrize("path", ["/", "/nothing/simple/", "/simple/six/"])
def test_a_wrong_url(upstream: FakeUpstream, tmp_path: Path, path: str) -> None:
    """Behind a wrong URL `six` is refused with 503, and the message says what to do."""
    upstream.publish(SIX)
    url = upstream.places.index + path
    with front(tmp_path, upstream, url=url) as server:
        assert page_of(server, "six").status == 404
        answer = post_form(server, private_wheel("six", "2.0"))
        private = post_form(server, private_wheel("team-six", "1.0"))

    refusal = json.loads(answer.body)
    assert (answer.status, refusal["error"]) == (503, "upstream_unproven")
    for words in (f"{url} of the upstream index public", "open one page of it first", "private"):
        assert words in refusal["message"]
    assert private.status == 200


def test_what_nobody_is_asked_for(silent_upstream: FakeUpstream, tmp_path: Path) -> None:
    """Without `check_upload`, or in `shadow` or `private`, a name needs no upstream index."""
    rules: tuple[dict[str, Any], ...] = ({"check_upload": False}, {"shadow": ("six",)})
    for number, more in enumerate(rules):
        with front(tmp_path, silent_upstream, **more) as server:
            server.publish(private_wheel("six", f"{number}.1"))
    with front(tmp_path, silent_upstream, offline=True) as server:
        server.publish(private_wheel("team-six", "1.0"))
        with pytest.raises(Unavailable, match="Nobody can say"):
            server.publish(private_wheel("six", "1.0"))
    assert silent_upstream.requests == []


def test_pages_open_it(silent_upstream: FakeUpstream, tmp_path: Path) -> None:
    """After a client has opened one page, uploads of new names are taken, also after a restart."""
    store = LocalStore(tmp_path / "store", Random(1))
    with front(tmp_path, silent_upstream, store=store) as server:
        with pytest.raises(Unavailable, match="has not shown that it is an index"):
            server.publish(private_wheel("new", "1.0"))
        assert page_of(server, "six").status == 200
        server.publish(private_wheel("new", "1.0"))
    with front(tmp_path, silent_upstream, store=store) as server:
        server.publish(private_wheel("newer", "1.0"))


@pytest.mark.integration
def test_commands_refuse_new_names_as_a_server_does(
    silent_upstream: FakeUpstream,
    wheelyard: Typed,  # noqa: F811
    sandbox: Sandbox,
) -> None:
    """Commands that write into the store refuse new names as a server does, and say why."""
    config = sandbox.folder / "wheelyard.toml"
    config.write_text(f'[store]\nlocation = "store"\n{upstream_settings(silent_upstream)}')
    folder = sandbox.folder / "packages"
    folder.mkdir()
    packages = [private_wheel(name, "1.0") for name in ("new", "newer", "team-core")]
    for each in packages:
        (folder / each.filename).write_bytes(each.body)

    checked = wheelyard("config", "check")
    assert (checked.returncode, "at its root it answers with status 404" in checked.stderr) == (
        0,
        True,
    )
    uploaded = wheelyard("upload", folder / packages[0].filename)
    assert (uploaded.returncode, "open one page of it first" in uploaded.stderr) == (1, True)
    imported = wheelyard("import", folder, "--json")
    assert imported.returncode == 1
    assert imported.stdout.replace(" ", "").count('"error":"upstream_unproven"') == 2
    assert wheelyard("names", "reserve", "later", "--reason", "spring").returncode == 0

    assert wheelyard("upstream", "why", "six").returncode == 0
    assert "upstream public: at its root" in wheelyard("config", "check").stdout
    imported = wheelyard("import", folder, "--json")
    assert (imported.returncode, '"new":2' in imported.stdout.replace(" ", "")) == (0, True)
    silent_upstream.root = None
    assert "public: its root is a list of projects" in wheelyard("config", "check").stdout


@pytest.mark.parametrize(("root", "status"), [(PORTAL, 503), (None, 200)], ids=["portal", "list"])
def test_a_server_starts_beside_a_root_that_shows_no_index(
    silent_upstream: FakeUpstream,
    tmp_path: Path,
    root: tuple[int, str, bytes] | None,
    status: int,
) -> None:
    """A server starts beside an upstream index whose root shows something else."""
    silent_upstream.root = root
    warning = b"has not shown that it is an index: its root is a page of another kind"
    with front(tmp_path, silent_upstream) as server:
        answer = post_form(server, private_wheel("new", "1.0"))
    assert (answer.status, warning in answer.body) == (status, root is not None)
