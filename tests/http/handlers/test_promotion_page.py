"""The page of a release on which people promote it to other indexes, below the path of its own."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_requiring, make_sdist, make_wheel
from tests.http.browser import Browser
from tests.http.handlers.test_manage import PASSWORD, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.model.project import PROVENANCE_SUFFIX, Event
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

RELEASE = "/dev/project/demo/1.0/"
PROMOTE = f"{RELEASE}promote/"
INDEXES = (
    {"name": "dev"},
    {"name": "prod"},
    {"name": "strict", "promote_from": ["prod"]},
    {"name": "stage"},
    {"name": "view", "layers": ["prod", "dev"]},
    {"name": "team", "layers": ["team", "dev"]},
)


def grant(person: str, *actions: str, index: str) -> dict[str, object]:
    """Return the table of a grant in an index."""
    return {"who": [f"htpasswd:{person}"], "projects": ["*"], "actions": actions, "index": index}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Serve a release of `dev`, which ana may promote to `prod`, and eve and kim to nowhere."""
    (tmp_path / "htpasswd").write_text("".join(f"{who}:{SHA}\n" for who in ("ana", "eve", "kim")))
    settings = Settings(
        server=ServerSettings(public_url="http://index"),
        access=AccessSettings(
            private=True,
            cookie_login=True,
            htpasswd_file=str(tmp_path / "htpasswd"),
            htpasswd_may=(),
        ),
    )
    grants = (
        *(grant(who, "read", index="dev") for who in ("ana", "eve")),
        grant("ana", "upload", index="prod,strict"),
        grant("ana", "read", index="team,view"),
        grant("kim", "read", index="prod"),
    )
    with in_process(tmp_path, settings, tables=toml_of(index=INDEXES, grant=grants)) as opened:
        dev = opened.index.named("dev")
        for made in (make_wheel(), make_sdist()):
            dev.uploads.accept(made.arrival(tmp_path), ALICE)
        yield opened


def signed_in(server: InProcessServer, name: str) -> Browser:
    """Return the browser of a person who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(name, PASSWORD).status == 303
    return browser


def send(browser: Browser, to: str = "prod") -> int:
    """Send the form with its token, and return the status of the answer."""
    fields = {"csrf_token": browser.form_token("/-/account/"), "to": to, "action": "promote"}
    return browser.send(PROMOTE, fields).status


def test_people_promote(server: InProcessServer) -> None:
    """A person promotes a release on its page, which says what other indexes refuse."""
    ana = signed_in(server, "ana")
    assert b'href="promote/"' in ana.open(RELEASE).body
    shown = text_of(ana.open(PROMOTE))
    assert "The index strict takes no releases from dev" in shown
    assert "stage" not in shown
    assert send(ana, "strict") == 403

    assert send(ana) == 303

    assert "All files of this release are there already" in text_of(ana.open(PROMOTE))
    shown = text_of(ana.open(RELEASE))
    assert "In: dev ✓ has 1.0 prod ✓ has 1.0 since 2026-01-01" in shown
    assert "Promoted to prod" not in shown
    arrived = text_of(ana.open("/prod/project/demo/1.0/"))
    assert "Promoted from dev by ana, by password on 2026-01-01" in arrived
    # who may not read dev does not learn that there is one
    kim = signed_in(server, "kim")
    unaware = text_of(kim.open("/prod/project/demo/1.0/"))
    assert ("demo 1.0" in unaware, "dev" in unaware) == (True, False)
    history = text_of(kim.open("/prod/project/demo/history/"))
    assert ("promoted 1.0" in history, "dev" in history) == (True, False)
    assert len(server.index.named("prod").projects.get(NormalizedName("demo")).files) == 2


def test_rows_of_releases_lead_to_the_page(server: InProcessServer) -> None:
    """A row of the list of releases leads to this page, where the release can be promoted from."""
    ana, eve = signed_in(server, "ana"), signed_in(server, "eve")
    releases = "/project/demo/releases/"
    day = f"/dev/as-of-2026-01-01{releases}"

    assert b'href="../1.0/promote/"' in ana.open(f"/dev{releases}").body
    for browser, path in (
        (eve, f"/dev{releases}"),
        (ana, f"/view{releases}"),
        (ana, f"/team{releases}"),
        (ana, day),
    ):
        shown = browser.open(path)
        assert (shown.status, b"promote/" in shown.body) == (200, False), path


def test_a_read_only_server_offers_no_promotion(server: InProcessServer, tmp_path: Path) -> None:
    """A server that takes no changes has no link to promote what could be promoted elsewhere."""
    settings = server.index.settings
    closed = replace(settings, server=replace(settings.server, read_only=True))
    with in_process(tmp_path, closed, store=server.index.stores.documents) as reading:
        ana = signed_in(reading, "ana")
        pages = [ana.open(path) for path in (RELEASE, "/dev/project/demo/releases/")]

    assert [(page.status, b"promote/" in page.body) for page in pages] == [(200, False)] * 2


def test_later_attestations_are_promoted(server: InProcessServer) -> None:
    """The page names the files there that would get attestations, and has the button for it."""
    ana, name = signed_in(server, "ana"), NormalizedName("demo")
    assert send(ana) == 303
    dev = server.index.named("dev")
    file = dev.projects.get(name).files[0]
    digest = sha256(b"{}").hexdigest()
    attested = Event.attested(file.filename, digest, at=file.uploaded_at, by="local:test")
    signed = replace(file, sidecars={PROVENANCE_SUFFIX: digest})
    dev.files.put_provenance(name, signed, b"{}")
    dev.projects.change(name, lambda _: (attested,))

    shown = text_of(ana.open(PROMOTE))
    assert f"These files there would get their attestations: {file.filename}" in shown
    assert "Promote to prod" in shown
    assert send(ana) == 303

    assert "attestations" not in text_of(ana.open(PROMOTE))


def test_who_may_promote_to_no_index(server: InProcessServer) -> None:
    """Who may upload to no other index gets no button, and a form that was made up does nothing."""
    eve = signed_in(server, "eve")

    page = eve.open(PROMOTE)

    assert b'href="promote/"' not in eve.open(RELEASE).body
    assert b"<form method=" not in page.body.partition(b"<main")[2]
    assert "no other index that you may upload" in text_of(page)
    fields = {"csrf_token": eve.form_token("/-/account/"), "to": "prod", "action": "promote"}
    assert eve.send(PROMOTE, fields).status == 403
    assert not server.index.named("prod").names.listed()


@pytest.mark.parametrize("place", ["team", "view"])
def test_a_release_is_promoted_from_the_index_that_has_it(
    server: InProcessServer, place: str
) -> None:
    """Who wants to promote a release that an index has from a layer hears which index it is of."""
    page = signed_in(server, "ana").open(f"/{place}/project/demo/1.0/promote/")

    assert page.status == 404
    assert "demo 1.0 is from dev. Promote it on its page there." in text_of(page)


def test_a_view_promotes_nothing_that_it_had_before(server: InProcessServer) -> None:
    """An index that has become a view promotes none of its former releases, which it hides."""
    server.publish_to("prod", make_wheel(version="2.0"))
    ana = signed_in(server, "ana")
    path = "/prod/project/demo/2.0/promote/"
    before = ana.open(path)
    put_tables(server.index, toml_of(index=[{"name": "prod", "layers": ["dev"]}]))
    after = ana.open(path)

    assert (before.status, "demo-2.0" in text_of(before)) == (200, True)
    assert after.status == 404
    assert "demo has no such release of its own" in text_of(after)


def test_wrong_forms(server: InProcessServer) -> None:
    """A form without its token, for an unknown index, or with another action changes nothing."""
    ana = signed_in(server, "ana")
    good = {"csrf_token": ana.form_token(PROMOTE), "to": "prod", "action": "promote"}

    for wrong, status in (
        ({"csrf_token": "x"}, 403),
        ({"to": "nowhere"}, 404),
        ({"to": "view"}, 403),
        ({"to": "dev"}, 400),
        ({"action": "delete"}, 400),
    ):
        assert ana.send(PROMOTE, {**good, **wrong}).status == status, wrong
    assert Browser(server).open(PROMOTE).status == 401
    for place in (
        "dev/project/demo/7",
        "dev/project/demo/x",
        "dev/as-of-2026-01-01/project/demo/1.0",
    ):
        assert ana.open(f"/{place}/promote/").status == 404, place
    project = server.index.named("dev").projects.get(NormalizedName("demo"))
    assert project.revision == 2


def test_the_page_warns_of_a_missing_requirement(server: InProcessServer) -> None:
    """The page says what the release requires and the other index does not show."""
    core = make_requiring("acme-core", "1.2", "acme-lib>=1")
    for made in (core, make_requiring("acme-lib", "1.3")):
        server.publish_to("dev", made)
    lacking = "acme-core 1.2 requires acme-lib>=1, which prod does not show: promote it, too."
    ana, path = signed_in(server, "ana"), "/dev/project/acme-core/1.2/promote/"
    fields = {"csrf_token": ana.form_token("/-/account/"), "to": "prod", "action": "promote"}

    assert lacking in text_of(ana.open(path))
    assert ana.send(path, fields).status == 303
    assert lacking in text_of(ana.open(path))

    assert ana.send("/dev/project/acme-lib/1.3/promote/", fields).status == 303
    assert lacking not in text_of(ana.open(path))
