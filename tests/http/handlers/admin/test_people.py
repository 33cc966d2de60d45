"""The pages of people."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.http.handlers.admin.administering import Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.api_token import TokenOwner
from wheelyard.model.grants import GrantFields
from wheelyard.model.person import Person
from wheelyard.wiring.build import Index

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
        confirmed_at=index.runtime.now(),
    )
    saved = index.people.save(person, index.people.get_current("acme", person.id))
    assert saved is not None
    return saved


def own(index: Index, name: str, *names: str) -> str:
    """Make a token that a person owns, of whom these are the principals; return its id."""
    owner = TokenOwner(names[0], frozenset(names))
    request = TokenRequest(name=name, lifetime=timedelta(days=30), owner=owner)
    return index.tokens.create(request, "local:bo")[1].id


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An index with people of every kind."""
    folder = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder, sign_in=(PROVIDER,))) as opened:
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
            index.access.grant(fields, "local:bo")
        index.access.edit_group("set", "chiefs", [ANA, "user:eve@acme.dev"], "local:bo")
        own(index, "of-ana", ANA, f"{ANA}#{ana.id}")
        own(index, "of-cleo", CLEO, "domain:acme.dev")
        yield opened


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_people_are_for_administrators(server: InProcessServer, name: str) -> None:
    """Others see nobody there."""
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
        "read, upload ml-* the group platform of acme",
        "read, upload, manage tools ana@acme.dev, by acme",
        "read wiki everybody with a credential",
    ):
        assert right in page
    assert "N7" in page
    assert "shared" not in page
    assert "of-ana" in page
    assert "Revoke all tokens" in page


def test_people_of_other_kinds(admin: Administrator) -> None:
    """The page says who decides about a person, and what is known of their rights."""
    password = admin.read(f"{PAGE}?who=htpasswd:reader")
    assert "Has a line of the htpasswd file, which decides" in password
    assert "read demo* reader, by password" in password
    assert "They own none" in password
    assert "The htpasswd file has no line" in admin.read(f"{PAGE}?who=htpasswd:left-us")
    google = admin.read(f"{PAGE}?who={CLEO}")
    assert "Google says who they are" in google
    assert "read shared everybody of acme.dev, by Google" in google  # as their token tells
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
    assert "oidc:acme:group:platform" in page
    assert "No: ben@acme.dev" in admin.read(f"explain/?{query.replace('ana@', 'ben@')}")


def test_groups_of_providers_are_listed(admin: Administrator) -> None:
    """The page of groups has those of providers, with the number of people."""
    page = admin.read("groups/")

    assert "the group platform of acme oidc:acme:group:platform 1" in page
    assert "the group staff of acme oidc:acme:group:staff 2" in page
    form = admin.open("grants/?action=add&kind=other&who=oidc:acme:group:staff").body.decode()
    assert 'value="oidc:acme:group:staff"' in form
    assert '<option value="oidc:acme:group">' in form
