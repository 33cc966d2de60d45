"""The pages of people."""

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.http.handlers.admin.administering import (
    PASSWORD,
    TABLES,
    Administrator,
    settings_in,
    text_of,
)
from tests.http.in_process import InProcessServer, in_process
from wheelyard.api.people_operations import NameRelease, ReleasedName, release_name
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Conflict
from wheelyard.model.access import Caller
from wheelyard.model.api_token import TokenOwner
from wheelyard.model.grants import GrantFields
from wheelyard.model.person import Person, id_of_subject
from wheelyard.wiring.index import Index

PAGE = "people/"
PROVIDER = {"name": "acme", "issuer": "https://id.acme.dev", "client_id": "x", "secret": "s"}
ANA, CLEO = "oidc:acme:ana@acme.dev", "user:cleo@acme.dev"


def sign_in(index: Index, subject: str, name: str, *groups: str) -> Person:
    """Keep the record of a person who has signed in."""
    person = Person(
        provider="acme",
        subject=subject,
        name=name,
        groups=groups,
        confirmed_at=index.server.runtime.now(),
    )
    saved = index.server.people.save(person, index.server.people.get_current("acme", person.id))
    assert saved is not None
    return saved


def own(index: Index, name: str, *names: str) -> str:
    """Make a token that a person owns, of whom these are the principals; return its id."""
    owner = TokenOwner(names[0], frozenset(names))
    request = TokenRequest(name=name, lifetime=timedelta(days=30), owner=owner)
    return index.tokens.create(request, "local:bo")[1].id


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """An index with people of every kind."""
    with in_process(tmp_path, settings_in(tmp_path, sign_in=(PROVIDER,)), tables=TABLES) as opened:
        index = opened.index
        ana = sign_in(index, "1", "ana@acme.dev", "platform", "staff")
        sign_in(index, "2", "ben@acme.dev", "staff")
        for who, can, projects in (
            ("oidc:acme:group:platform", "upload", "ml-*"),
            (ANA, "manage", "tools"),
            ("oidc:acme:dora@acme.dev", "read", "x"),
            ("htpasswd:left-us", "read", "x"),
            ("domain:acme.dev", "read", "shared"),
            ("allAuthenticated", "read", "wiki"),
        ):
            fields = GrantFields(who=(who,), projects=(projects,), actions=(can,), note="N7")
            index.server.access.grant(fields, "local:bo")
        index.server.access.edit_group("set", "chiefs", [ANA, "user:eve@acme.dev"], "local:bo")
        own(index, "of-ana", ANA, f"{ANA}#{ana.id}")
        own(index, "of-cleo", CLEO, "domain:acme.dev")
        yield opened


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_people_are_for_administrators(server: InProcessServer, name: str) -> None:
    """Who is no administrator sees nobody on the pages of people."""
    person = Administrator.of(server, name)

    pages = [person.open(PAGE), person.open(f"{PAGE}?who={ANA}")]

    assert [page.status for page in pages] == [403, 403]
    assert not any("ana@acme.dev" in text_of(page) for page in pages)


@pytest.mark.parametrize(
    ("query", "people"),
    [
        (
            "",
            [
                *("htpasswd:admin", "htpasswd:left-us", "htpasswd:reader", "htpasswd:stranger"),
                *(ANA, "oidc:acme:ben@acme.dev", "oidc:acme:dora@acme.dev", CLEO),
                "user:eve@acme.dev",
            ],
        ),
        ("search=ANA", [ANA]),
        (
            "search=by%20password&state=active",
            ["htpasswd:admin", "htpasswd:reader", "htpasswd:stranger"],
        ),
        ("state=gone", ["htpasswd:left-us"]),
        ("state=unseen", ["oidc:acme:dora@acme.dev"]),
        ("state=unknown", [CLEO, "user:eve@acme.dev"]),
        ("group=oidc%3Aacme%3Agroup%3Astaff", [ANA, "oidc:acme:ben@acme.dev"]),
        ("search=nothing-like-it", []),
    ],
)
def test_people_are_found(admin: Administrator, query: str, people: list[str]) -> None:
    """Everybody is in one list: of providers, passwords, grants, groups and tokens."""
    page = admin.open(f"{PAGE}?{query}").body.decode()

    assert re.findall(r'<code class="soft id">([^<]+)</code>', page) == people


def test_person_of_a_provider(admin: Administrator) -> None:
    """The page of a person has groups, each right with what gives it, and tokens."""
    page = admin.read(f"{PAGE}?who={ANA}")

    assert "Signs in with acme, which has last confirmed them on 2026-01-01" in page
    assert "Groups of acme platform , staff" in page
    assert "Groups of this index chiefs" in page
    for right in (
        "read, upload ml-* in the index main the group platform of acme",
        "read, upload, manage tools in the index main ana@acme.dev, by acme",
        "read wiki in the index main everybody with a credential",
    ):
        assert right in page
    assert "N7" in page
    assert "shared" not in page
    assert "of-ana" in page
    assert "Revoke all tokens" in page


def test_person_whom_a_provider_has_refused(server: InProcessServer, admin: Administrator) -> None:
    """The list and the page say that a provider did not confirm somebody any more."""
    people = server.index.server.people
    found = people.get_current("acme", id_of_subject("2"))
    assert found.value is not None
    people.save(replace(found.value, refused_at=found.value.confirmed_at), found)

    assert "oidc:acme:ben@acme.dev" in admin.read(f"{PAGE}?state=refused")
    page = admin.read(f"{PAGE}?who=oidc:acme:ben@acme.dev")
    assert "Since then it has refused to, so their sessions have ended" in page


def test_people_of_other_kinds(admin: Administrator) -> None:
    """The page says who decides about a person, and what is known of their rights."""
    password = admin.read(f"{PAGE}?who=htpasswd:reader")
    assert "Has a line of the htpasswd file: whoever removes it" in password
    assert "read demo* in the index main reader, by password" in password
    assert "They own none" in password
    assert "The htpasswd file has no line" in admin.read(f"{PAGE}?who=htpasswd:left-us")
    google = admin.read(f"{PAGE}?who={CLEO}")
    assert "Google says who they are" in google
    assert (
        "read shared in the index main everybody of acme.dev, by Google" in google
    )  # as their token tells
    unseen = admin.read(f"{PAGE}?who=oidc:acme:dora@acme.dev")
    assert "Nobody of this name has signed in with acme yet" in unseen
    assert "The settings have no provider gone" in admin.read(f"{PAGE}?who=oidc:gone:x")
    for wrong in ("group:team", "oidc:acme:group:staff", "nonsense", "token:0123456789"):
        assert admin.open(f"{PAGE}?who={wrong}").status == 400


def test_name_that_somebody_else_has_now(admin: Administrator) -> None:
    """Tokens of a person who had the name before are not those of the new one."""
    index = admin.server.index
    own(index, "of-the-old-ben", "oidc:acme:ben@acme.dev", f"oidc:acme:ben@acme.dev#{'0' * 32}")

    assert "of-the-old-ben" not in admin.read(f"{PAGE}?who=oidc:acme:ben@acme.dev")


def test_explanation_knows_the_groups_of_a_person(admin: Administrator) -> None:
    """Whether a person may do something depends on the groups that the provider told of."""
    query = "kind=oidc%3Aacme&who=ana@acme.dev&project=ml-core&can=upload"

    page = admin.read(f"explain/?{query}")

    assert "Yes: ana@acme.dev, by acme may upload to ml-core" in page
    assert "the group platform of acme may read and upload to ml-*" in page
    assert "No: ben@acme.dev" in admin.read(f"explain/?{query.replace('ana@', 'ben@')}")


def test_groups_of_providers_are_listed(admin: Administrator) -> None:
    """The page of groups has those of providers, with the number of people."""
    page = admin.read("groups/")

    assert "the group platform of acme oidc:acme:group:platform 1" in page
    assert "the group staff of acme oidc:acme:group:staff 2" in page
    form = admin.open("grants/?action=add&kind=other&who=oidc:acme:group:staff").body.decode()
    assert 'name="who" value="staff"' in form
    assert '<option value="oidc:acme:group" selected>' in form


def test_grant_for_a_person_has_the_kind(admin: Administrator) -> None:
    """The page of a person leads to a form with their kind and name, as people write them."""
    page = admin.open(f"{PAGE}?who=htpasswd:reader").body.decode()
    link = re.search(r'href="\.\./(grants/[^"]*)">Add a grant', page)
    assert link is not None

    form = admin.open(unescape(link[1])).body.decode()

    assert '<option value="htpasswd" selected>' in form
    assert 'name="who" value="reader"' in form
    assert 'value="read" checked' in form


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_nobody_else_ends_access(server: InProcessServer, name: str) -> None:
    """Forms about people are refused without the right, and change nothing."""
    person = Administrator.of(server, name)

    answers = [
        person.send(PAGE, action=action, who="htpasswd:admin")
        for action in ("end", "admit", "release-name")
    ]

    assert [answer.status for answer in answers] == [403] * 3
    assert not server.index.server.access.load().ended


def test_access_ends_at_once(admin: Administrator) -> None:
    """Password, session and tokens of a person open nothing, until they are admitted again."""
    server, who = admin.server, "htpasswd:stranger"
    stranger = Administrator.of(server, "stranger")
    names = frozenset({who})
    owner = server.index.authenticator.owners.owner_of(Caller(who, (), names))
    wanted = TokenRequest(name="x", lifetime=timedelta(days=30), owner=owner)
    token = server.index.tokens.create(wanted, who)[0].text

    def statuses() -> list[int]:
        server.clock.advance(seconds=2)  # a caller is remembered for a second
        basic = b64encode(f"stranger:{PASSWORD}".encode()).decode()
        headers = [f"Bearer {token}", f"Basic {basic}"]
        answers = [server.get("/api/v1/whoami", ("authorization", text)) for text in headers]
        page = stranger.browser.open("/-/account/")
        return [*(answer.status for answer in answers), page.status]

    assert statuses() == [200, 200, 200]
    assert "You can admit the person again" in admin.read(f"{PAGE}?who={who}&action=end")
    page = admin.done(PAGE, action="end", who=who, reason="has left us")
    assert "Access ended on 2026-01-01" in page
    assert "by admin, by password" in page
    assert statuses()[:2] == [401, 401]
    assert statuses()[2] != 200
    assert "ended" in admin.read(f"tokens/?owner={who}&state=")
    assert "an administrator has ended the access of this person" in admin.read(
        "explain/?kind=htpasswd&who=stranger&project=demo&can=read"
    )
    journal = admin.read("journal/?what=person-ended")
    assert "ended the access of stranger, by password (has left us)" in journal
    page = admin.done(PAGE, action="admit", who=who)
    assert "Admitted again" in page
    assert statuses() == [200, 200, 200]


def test_person_of_a_provider_is_ended(admin: Administrator) -> None:
    """The record says who ended a person until they are admitted; a released name ends them."""
    index = admin.server.index
    person = sign_in(index, "9", "zoe@acme.dev")
    assert index.catalog.person_names.claim("acme", person.name, person.id)
    who = f"{person.principal}#{person.id}"

    admin.done(PAGE, action="end", who=who)
    ended = index.server.people.get_current("acme", person.id).value
    assert ended is not None
    assert ended.ended_by == "htpasswd:admin"
    page = admin.done(PAGE, action="admit", who=who)
    admitted = index.server.people.get_current("acme", person.id).value
    assert admitted is not None
    assert (admitted.ended_by, "Access ended" in page) == ("", False)
    page = admin.done(PAGE, action="release-name", who=who)

    assert "The name is released" in page
    assert "Access ended" in page
    assert not index.catalog.person_names.holder("acme", person.name)
    history = admin.read("grants/history/")
    assert "released the name of zoe@acme.dev, by acme" in history


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"action": "end", "who": "htpasswd:admin"}, 409, "You would end your own access"),
        ({"action": "end", "who": "oidc:acme:dora@acme.dev"}, 404, "Nobody has signed in as"),
        ({"action": "end", "who": CLEO, "reason": "a\nb"}, 400, "without control characters"),
        ({"action": "release-name", "who": "htpasswd:reader"}, 404, "Nobody of"),
        ({"action": "burn", "who": CLEO}, 400, ""),
    ],
)
def test_refused_changes_of_people(
    admin: Administrator, fields: dict[str, str], status: int, text: str
) -> None:
    """A change that makes no sense says why, and changes nothing."""
    before = admin.server.index.server.access.show().revision

    answer = admin.send(PAGE, **fields)

    assert (answer.status, text in text_of(answer)) == (status, True)
    assert admin.server.index.server.access.show().revision == before


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("grants/", "../people/?who=htpasswd%3Areader"),
        ("groups/?group=team", "../people/?who=htpasswd%3Astranger"),
        ("groups/", "../people/?group=oidc%3Aacme%3Agroup%3Astaff"),
        (f"tokens/?owner={CLEO}&state=", "../people/?who=user%3Acleo%40acme.dev"),
        (
            "explain/?kind=htpasswd&who=reader&project=x&can=read",
            "../people/?who=htpasswd%3Areader",
        ),
        (f"{PAGE}?who={CLEO}", "../tokens/?owner=user%3Acleo%40acme.dev"),
        (f"{PAGE}?who={CLEO}", "../journal/?by=user%3Acleo%40acme.dev"),
        (f"{PAGE}?who={CLEO}", "../explain/?kind=other&amp;who=user%3Acleo%40acme.dev"),
    ],
)
def test_pages_lead_to_a_person_and_on(admin: Administrator, path: str, link: str) -> None:
    """From where somebody is named one comes to the person, and from there to what they have."""
    assert f'href="{link}' in admin.open(path).body.decode()


def test_nobody_releases_their_own_name(admin: Administrator) -> None:
    """An administrator of a provider, who would end their own access by it, is told so."""
    me = frozenset({"oidc:acme:me@acme.dev"})
    api = replace(admin.api, caller=replace(admin.api.caller, principals=me))

    with pytest.raises(Conflict):
        api.call(release_name, NameRelease("acme", "Me@Acme.dev"))


def test_a_name_of_before_is_released(admin: Administrator) -> None:
    """The release of a name whose person has another one by now says that nobody is ended."""
    catalog, old = admin.server.index.catalog, "ana.b@acme.dev"
    assert catalog.person_names.claim("acme", old, id_of_subject("1"))

    assert admin.api.call(release_name, NameRelease("acme", old)) == ReleasedName(None)
