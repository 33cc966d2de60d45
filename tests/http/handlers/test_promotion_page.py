"""The page of a release on which people promote it to other indexes, below the path of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import Browser
from tests.http.handlers.test_manage import PASSWORD, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.operations.distributions import make_sdist, make_wheel
from tests.operations.in_memory_index import ALICE
from wheelyard.model.access import Caller
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

RELEASE = "/dev/project/demo/1.0/"
PROMOTE = f"{RELEASE}promote/"
INDEXES = (
    {"name": "dev"},
    {"name": "prod", "promote_approvals": 1},
    {"name": "stage"},
    {"name": "view", "layers": ["prod", "dev"]},
    {"name": "team", "layers": ["team", "dev"]},
)


def grant(person: str, *actions: str, index: str) -> dict[str, object]:
    """Return the table of a grant in an index."""
    return {"who": [f"htpasswd:{person}"], "projects": ["*"], "actions": actions, "index": index}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Serve a release of `dev`, which ana and bo may promote to `prod`, and eve to nowhere."""
    (tmp_path / "htpasswd").write_text("".join(f"{who}:{SHA}\n" for who in ("ana", "bo", "eve")))
    settings = Settings(
        server=ServerSettings(public_url="http://index"),
        access=AccessSettings(cookie_login=True, htpasswd_file=str(tmp_path / "htpasswd")),
        index=INDEXES,
        grant=(
            *(grant(who, "read", index="dev") for who in ("ana", "bo", "eve")),
            *(grant(who, "upload", index="prod") for who in ("ana", "bo")),
            grant("ana", "read", index="team,view"),
        ),
    )
    with in_process(tmp_path, settings) as opened:
        dev = opened.index.named("dev")
        for made in (make_wheel(), make_sdist()):
            dev.uploads.accept(made.arrival(tmp_path), ALICE)
        yield opened


def signed_in(server: InProcessServer, name: str) -> Browser:
    """Return the browser of a person who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(name, PASSWORD).status == 303
    return browser


def send(browser: Browser, action: str, to: str = "prod", path: str = PROMOTE) -> int:
    """Send the form with its token, and return the status of the answer."""
    fields = {"csrf_token": browser.form_token("/-/account/"), "to": to, "action": action}
    return browser.send(path, fields).status


def test_people_approve_and_promote(server: InProcessServer) -> None:
    """One person approves a release on its page, another one promotes it; both pages say so."""
    ana, bo = signed_in(server, "ana"), signed_in(server, "bo")
    assert b'href="promote/"' in ana.open(RELEASE).body
    shown = text_of(ana.open(PROMOTE))
    assert "takes releases that were approved by another person" in shown
    assert "stage" not in shown
    assert send(ana, "promote") == 403

    assert send(bo, "approve") == 303
    assert "Approved by bo, by password" in text_of(ana.open(PROMOTE))
    assert send(ana, "promote") == 303

    assert "It has all files of this release" in text_of(ana.open(PROMOTE))
    assert "Promoted to prod" in text_of(ana.open(RELEASE))
    arrived = text_of(ana.open("/prod/project/demo/1.0/"))
    assert "Promoted from dev by ana, by password on 2026-01-01" in arrived
    assert len(server.index.named("prod").projects.get(NormalizedName("demo")).files) == 2


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


def test_wrong_forms(server: InProcessServer) -> None:
    """A form without its token, for an unknown index, or with another action changes nothing."""
    ana = signed_in(server, "ana")
    good = {"csrf_token": ana.form_token(PROMOTE), "to": "prod", "action": "approve"}

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


def test_only_those_approve_whose_approval_counts(server: InProcessServer) -> None:
    """Who has uploaded a release, or has approved it, gets no button to approve it, but the why."""
    uploader = Caller("htpasswd:ana", ALICE.scopes)
    server.index.named("dev").uploads.accept(
        make_wheel(version="2.0").arrival(server.folder), uploader
    )
    ana, bo = signed_in(server, "ana"), signed_in(server, "bo")
    path = "/dev/project/demo/2.0/promote/"
    offered = b'value="approve"'

    assert offered not in ana.open(path).body
    assert "You have uploaded it, so somebody else approves it." in text_of(ana.open(path))
    assert offered in bo.open(path).body
    assert b'Approve for <span class="id">prod</span>' in bo.open(path).body  # which may be long
    assert send(bo, "approve", path=path) == 303
    assert offered not in bo.open(path).body
    assert "You have approved it." in text_of(bo.open(path))
    assert send(ana, "promote", path=path) == 303


def test_a_release_of_an_unknown_token_is_not_approved(server: InProcessServer) -> None:
    """Where nobody knows whose token has uploaded a release, the page says so, without a button."""
    uploader = Caller("token:0123456789", ALICE.scopes)
    server.index.named("dev").uploads.accept(
        make_wheel(version="3.0").arrival(server.folder), uploader
    )

    page = signed_in(server, "bo").open("/dev/project/demo/3.0/promote/")

    assert page.status == 200
    assert "Nobody can say whose token has uploaded the release" in text_of(page)
    assert b'value="approve"' not in page.body
