"""Who may do what to a project, and why."""

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.fake_time import START, Clock, fake_runtime
from tests.index_tables import put_tables, toml_of
from tests.model.jobs import AUDIENCE, GITHUB
from tests.refused import refused
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.rights import (
    AccessExplanation,
    effective_access,
    explain,
    parse_subject,
)
from wheelyard.errors import Invalid
from wheelyard.model.access import Action, Caller, Identity, parse_actions, parse_pattern
from wheelyard.model.api_token import NOBODY, TokenOwner
from wheelyard.model.grants import GrantFields
from wheelyard.model.person import Person
from wheelyard.settings.sections import AccessSettings, PublishingSettings, Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index

CORE = NormalizedName("acme-core")
READ, UPLOAD = Action.READ, Action.UPLOAD.with_implied
ANA = "user:ana@acme.dev"
WHO = "ana@acme.dev, by Google"


def index_of(folder: Path, settings: Settings, tables: str = "") -> Index:
    """Return an index over an empty store in memory, but for what the tables describe."""
    clock = Clock()
    index = build_index(
        Stores.of(MemoryStore(clock.seconds)), Spool(folder), settings, fake_runtime(clock, 1)
    )
    put_tables(index, tables)
    return index.server.indexes.main()


def listed_access(index: Index) -> list[tuple[str, Action, str]]:
    """Return what is said of the project."""
    entries = effective_access(CORE, index.authenticator, index.tokens.all())
    return [(entry.who, entry.actions, entry.reason) for entry in entries]


def caller_of(index: Index, who: str) -> Caller:
    """Return the caller that has this principal."""
    kind, _, token_id = who.partition(":")
    if kind == "token":
        return index.authenticator.caller_for_token(index.tokens.active(token_id))
    identity = Identity(who, frozenset({who, "anonymous"}))
    return index.authenticator.policy.authorize(identity)


def test_everybody_reads_by_default(tmp_path: Path) -> None:
    """By default everybody reads; the token and uploads of the settings are listed."""
    access = AccessSettings(anonymous_uploads=True, static_token="a-static-token-of-many-letters")

    assert listed_access(index_of(tmp_path, Settings(access=access))) == [
        ("static:environment", UPLOAD, "static token"),
        ("everybody", Action.UPLOAD, "access.anonymous_uploads is set"),
        ("everybody", READ, "the index is open for reading"),
    ]


def test_grants_and_tokens_give_the_explained_rights(tmp_path: Path) -> None:
    """Grants count, and active tokens inside the rights of their owners."""
    grants: tuple[dict[str, object], ...] = (
        {"who": ["anonymous"], "projects": ["acme-*"], "actions": ["read"]},
        {"who": [ANA], "projects": ["other"], "actions": ["manage"]},
    )
    settings = Settings(access=AccessSettings(htpasswd_may=()))
    tables = toml_of(main={"read": "granted"}, grant=grants, groups={"team": [ANA]})
    index = index_of(tmp_path, settings, tables)
    of_everybody = index.server.access.show().grants[0].id
    fields = GrantFields(who=("group:team",), projects=("acme-core",), actions=("upload",))
    grant_id = index.server.access.grant(fields, "local:test")

    def make(name: str, project: str, owner: str = "", days: int = 30) -> str:
        request = TokenRequest(
            name=name,
            actions=parse_actions(["manage"]),
            projects=(parse_pattern(project),),
            lifetime=timedelta(days),
            owner=TokenOwner(owner, frozenset({owner})) if owner else NOBODY,
        )
        return index.tokens.create(request, "local:test")[1].id

    free, owned, gone = make("ci", "acme-*"), make("ana's", "*", ANA), make("old", "*")
    make("other", "other")
    index.tokens.revoke(gone, "local:test")

    assert listed_access(index) == [
        (f"token:{free} (ci)", Action.MANAGE.with_implied, "API token, until 2026-01-31"),
        ("group:team", UPLOAD, f"grant {grant_id}"),
        (
            f"token:{owned} (ana's)",
            UPLOAD,
            f"API token of {WHO}, inside the rights of its owner, until 2026-01-31",
        ),
        ("anonymous", READ, f"grant {of_everybody}"),
    ]

    for who in (ANA, "user:bo@acme.dev", "anonymous", f"token:{free}", f"token:{owned}"):
        for action in Action:
            subject = parse_subject(who, index.authenticator)
            explained = explain(subject, action, CORE, index.authenticator, ())
            assert explained.allowed == caller_of(index, who).may(action, CORE)


@pytest.mark.parametrize(
    ("owner", "action", "hints"),
    [
        (
            ANA,
            Action.ADMIN,
            ("a token of somebody makes no token, and changes no grant and no person",),
        ),
        (ANA, Action.UPLOAD, ()),
        ("", Action.ADMIN, ()),
    ],
    ids=["administer by a token of somebody", "upload by it", "administer by a token of nobody"],
)
def test_an_explanation_says_what_a_token_of_somebody_cannot_do(
    tmp_path: Path, owner: str, action: Action, hints: tuple[str, ...]
) -> None:
    """Of a token of somebody that may administer it is said what only a person may."""
    grant = {"who": [ANA], "projects": ["*"], "actions": ["admin"]}
    index = index_of(tmp_path, Settings(), toml_of(grant=[grant]))
    request = TokenRequest(
        name="ci",
        actions=Action.ADMIN.with_implied,
        projects=(parse_pattern("*"),),
        lifetime=timedelta(30),
        owner=TokenOwner(owner, frozenset({owner})) if owner else NOBODY,
    )
    token_id = index.tokens.create(request, "local:test")[1].id
    subject = parse_subject(f"token:{token_id}", index.authenticator)

    explained = explain(subject, action, CORE, index.authenticator, ())

    assert (explained.allowed, explained.hints) == (True, hints)


def test_an_explanation_has_the_rights_that_it_is_about(tmp_path: Path) -> None:
    """Each sentence of an explanation has the right that it is about beside it."""
    grant = {"who": ["group:team"], "projects": ["acme-*"], "actions": ["upload"], "note": "all"}
    settings = Settings(access=AccessSettings(private=True, htpasswd_may=()))
    index = index_of(tmp_path, settings, toml_of(grant=[grant], groups={"team": [ANA]}))
    grant_id = index.server.access.show().grants[0].id

    def explained_to(who: str, action: Action) -> AccessExplanation:
        subject = parse_subject(who, index.authenticator)
        return explain(subject, action, CORE, index.authenticator, ())

    granted, near = (
        explained_to(ANA, Action.UPLOAD),
        explained_to("oidc:acme:ana@acme.dev", Action.UPLOAD),
    )
    anonymous, token = (
        explained_to("anonymous", Action.READ),
        explained_to("anonymous", Action.UPLOAD),
    )

    assert [(right.kind, right.id, right.who) for right in granted.rights] == [
        ("grant", grant_id, "group:team")
    ]
    assert granted.rights[0].members == (ANA,)
    assert granted.reasons == tuple(right.text for right in granted.rights)
    assert near.hints == tuple(right.text for right in near.rights)
    assert [anonymous.grant_helps, token.grant_helps, granted.grant_helps] == [True, False, False]
    assert explained_to("user:bo@acme.dev", Action.MANAGE).grant_helps


TABLE = {"name": "acme", "issuer": "https://login.acme.dev", "client_id": "wheelyard"}
PERSON = Person(
    provider="acme",
    subject="ana",
    name="ana@acme.dev",
    groups=("platform",),
    confirmed_at=START,
)
OF_PLATFORM = {"who": ["oidc:acme:group:platform"], "projects": ["acme-*"], "actions": ["read"]}


def answer(
    folder: Path, who: str, *people: Person, grantee: str = "oidc:acme:group:platform"
) -> tuple[bool, str]:
    """Return whether somebody may read a project by a grant, and all that is said about it."""
    access = AccessSettings(private=True, htpasswd_may=())
    grant = {**OF_PLATFORM, "who": [grantee]}
    settings = Settings(access=access, sign_in=(TABLE,))
    index = index_of(folder, settings, toml_of(grant=[grant]))
    for person in people:
        snapshot = index.server.people.get_current(person.provider, person.id)
        assert index.server.people.save(person, snapshot) is not None
    subject = parse_subject(who, index.authenticator)
    explained = explain(subject, READ, CORE, index.authenticator, ())
    texts = "\n".join((*explained.reasons, *explained.hints))
    return explained.allowed, texts.replace(index.server.access.show().grants[0].id, "ID")


def test_a_person_of_a_provider_has_the_groups_of_the_record(tmp_path: Path) -> None:
    """A person has the groups that the provider has named last, by name or with the id."""
    for who in ("oidc:acme:Ana@acme.dev", f"oidc:acme:ana@acme.dev#{PERSON.id}"):
        assert answer(tmp_path, who, PERSON) == (
            True,
            "grant ID: oidc:acme:group:platform may read acme-* in the index main",
        )
    assert answer(tmp_path, "oidc:acme:group:platform")[0]
    assert not answer(tmp_path, "oidc:acme:ana@acme.dev", replace(PERSON, groups=()))[0]


@pytest.mark.parametrize(
    ("who", "grantee", "words"),
    [
        (
            "oidc:acme:bo@acme.dev",
            "oidc:acme:group:platform",
            "ask for oidc:acme:bo@acme.dev,oidc:acme:group:platform, if the provider says so since",
        ),
        ("oidc:acme:group:Platform", "oidc:acme:group:platform", "upper and lower case count"),
        ("oidc:acme:bo@acme.dev", "oidc:other:bo@acme.dev", "that is another provider"),
        ("oidc:acme:bo@acme.dev", "user:bo@acme.dev", "that is for Google's own ID tokens"),
        (
            "oidc:acme:bo@acme.dev",
            f"oidc:acme:bo@acme.dev#{'0' * 32}",
            "ask for it so, if that is the account's unique id",
        ),
        ("oidc:other:bo@other.dev", "oidc:acme:bo@acme.dev", "401, because no [[sign_in]] of the"),
    ],
)
def test_a_near_miss_of_a_person_is_named(
    tmp_path: Path, who: str, grantee: str, words: str
) -> None:
    """A grant that means somebody like the one who was asked for is named, with what differs."""
    is_allowed, text = answer(tmp_path, who, grantee=grantee)
    assert not is_allowed
    assert words in text


def test_a_grant_to_another_person_is_no_near_miss(tmp_path: Path) -> None:
    """A grant to another person of the same provider is not named as if it were nearly a right."""
    is_allowed, text = answer(tmp_path, "oidc:acme:bo@acme.dev", grantee="oidc:acme:cy@acme.dev")
    assert not is_allowed
    assert "cy@acme.dev" not in text


def test_a_person_whom_the_provider_refuses_is_said_so(tmp_path: Path) -> None:
    """A denial says that the provider refuses the person, whom no administrator has ended."""
    refused_person = replace(PERSON, refused_at=START)
    assert answer(tmp_path, "oidc:acme:ana@acme.dev", refused_person) == (
        False,
        "401, because the provider of this person has refused to confirm the account",
    )


def test_a_person_whose_access_was_ended_is_said_so(tmp_path: Path) -> None:
    """A denial says that an administrator has ended the access of the person."""
    ended = replace(PERSON, ended_at=START)
    assert answer(tmp_path, "oidc:acme:ana@acme.dev", ended) == (
        False,
        "401, because an administrator has ended the access of this person",
    )
    # whoever has the name after it was released is somebody else
    other = replace(PERSON, subject="another-ana")
    assert answer(tmp_path, "oidc:acme:ana@acme.dev", ended, other)[0]


def test_grants_to_tokens_and_publishers_give_nothing(tmp_path: Path) -> None:
    """A grant to a token, a publisher or a group of them gives no right."""
    index = index_of(tmp_path, Settings(access=AccessSettings(private=True)))
    request = TokenRequest(name="ci", projects=(parse_pattern("other"),))
    who = f"token:{index.tokens.create(request, 'local:test')[1].id}"
    members = (who, "publisher:nosuch")
    index.server.access.edit_group("make", "jobs", members, "local:test")
    for grantee in (*members, "group:jobs"):
        fields = GrantFields(who=(grantee,), projects=("*",), actions=("manage",))
        index.server.access.grant(fields, "local:test")

    for member in members:
        subject = parse_subject(member, index.authenticator)
        assert not explain(subject, READ, CORE, index.authenticator, ()).allowed
    assert [entry.who for entry in effective_access(CORE, index.authenticator, ())] == [
        "group:jobs"
    ]
    subject = parse_subject("publisher:nosuch", index.authenticator)
    assert subject.state == "of no publisher"
    with refused(Invalid, "bad_setting", match="A token has its own rights alone"):
        parse_subject(f"{who},user:ana@acme.dev", index.authenticator)


def test_a_grant_to_everybody_opens_no_public_package(tmp_path: Path) -> None:
    """Without a credential nobody reads a public package, also where a grant opens something."""
    table = {"who": ["anonymous"], "projects": ["open-*"], "actions": ["read"]}
    index = index_of(tmp_path, Settings(), toml_of(main={"read": "granted"}, grant=[table]))
    subject = parse_subject("anonymous", index.authenticator)

    def explained(name: str) -> AccessExplanation:
        project = NormalizedName(name)
        return explain(subject, READ, project, index.authenticator, (), may_be_public=True)

    assert explained("open-lib").allowed
    assert not explained("requests").allowed
    assert "401" in explained("requests").reasons[0]


def test_who_has_no_password_any_more_has_no_access(tmp_path: Path) -> None:
    """A grant to a name without a line of the file, or to somebody who was ended, gives nothing."""
    users = tmp_path / "users"
    users.write_text(f"ana:{SHA}\ncleo:{SHA}\n")
    who = ["htpasswd:ana", "htpasswd:bob", "htpasswd:cleo"]
    grants: tuple[dict[str, object], ...] = (
        {"who": who, "projects": ["*"], "actions": ["upload"]},
        {"who": ["group:team"], "projects": ["*"], "actions": ["manage"]},
    )
    access = AccessSettings(htpasswd_file=str(users), private=True, htpasswd_may=())
    tables = toml_of(grant=grants, groups={"team": who})
    index = index_of(tmp_path, Settings(access=access), tables)
    index.server.access.end_person("htpasswd:cleo", "local:test")

    def is_allowed(name: str) -> bool:
        subject = parse_subject(name, index.authenticator)
        return explain(subject, UPLOAD, CORE, index.authenticator, ()).allowed

    assert list(map(is_allowed, who)) == [True, False, False]
    entries = effective_access(CORE, index.authenticator, ())
    assert [(entry.who, entry.members) for entry in entries] == [
        ("group:team", ("htpasswd:ana",)),
        ("htpasswd:ana", ()),
    ]


OF_PROD = (
    *("htpasswd:ana", "htpasswd:bob", "htpasswd:cleo", "domain:acme.dev"),
    *("oidc:acme:group:platform", "static:gone"),
)


def index_with_all_kinds(folder: Path) -> Index:
    """Return an index whose index `prod` has grants, people and credentials of all kinds."""
    (folder / "users").write_text(f"ana:{SHA}\ncleo:{SHA}\ndora:{SHA}\n")
    (folder / "tokens.toml").write_text(
        '[[token]]\nname = "ci"\nvalue = "a text of many letters"\nprojects = ["*"]\n'
        'index = "prod"\n'
        '[[token]]\nname = "old"\nvalue = "a text of other letters"\nprojects = ["*"]\n'
        'index = "prod"\nexpires = 2025-12-31\n'
    )
    grant = {"projects": ["acme-*"], "actions": ["upload"]}
    settings = Settings(
        access=AccessSettings(
            htpasswd_file=str(folder / "users"), static_tokens_file=str(folder / "tokens.toml")
        ),
        sign_in=(TABLE,),
        trusted_publishing=PublishingSettings(audience=(AUDIENCE,)),
    )
    tables = toml_of(
        index=({"name": "prod"},),
        grant=(
            {**grant, "who": OF_PROD, "index": "prod"},
            {**grant, "who": ["htpasswd:dora", "oidc:acme:eve@acme.dev"]},
        ),
        publisher=(
            {**GITHUB, "id": "gh-prod", "projects": [CORE], "index": "prod"},
            {**GITHUB, "id": "gh-root", "projects": [CORE], "workflow": "root.yml"},
        ),
    )
    index = index_of(folder, settings, tables)
    for person in (
        PERSON,
        replace(PERSON, subject="eve", name="eve@acme.dev", groups=()),
        replace(PERSON, subject="fay", name="fay@acme.dev", refused_at=START),
        replace(PERSON, subject="gil", name="gil@acme.dev", ended_at=START),
    ):
        snapshot = index.server.people.get_current(person.provider, person.id)
        assert index.server.people.save(person, snapshot) is not None
    index.server.access.end_person("htpasswd:cleo", "local:test")
    return index


@pytest.mark.parametrize(
    ("who", "may_upload"),
    [
        ("htpasswd:ana", True),
        ("htpasswd:bob", False),  # without a line
        ("htpasswd:cleo", False),  # ended
        ("htpasswd:dora", False),  # no grant names prod
        ("user:ana@acme.dev,domain:acme.dev", True),
        ("user:ana@else.dev", False),
        ("oidc:acme:ana@acme.dev", True),  # by the group
        ("oidc:acme:eve@acme.dev", False),
        ("oidc:acme:fay@acme.dev", False),  # refused by the provider
        ("oidc:acme:gil@acme.dev", False),
        ("oidc:other:ana@acme.dev", False),
        ("publisher:gh-prod", True),
        ("publisher:gh-gone", False),
        ("publisher:gh-root", False),
        ("static:ci", True),
        ("static:gone", False),
        ("static:old", False),  # expired
    ],
)
def test_who_is_gone_may_not_upload(tmp_path: Path, who: str, *, may_upload: bool) -> None:
    """A right counts only for who still has the line, token, publisher or account it is for."""
    prod = index_with_all_kinds(tmp_path).named("prod").authenticator

    explanation = explain(parse_subject(who, prod), UPLOAD, CORE, prod, ())

    assert explanation.allowed is may_upload


def test_a_static_token_that_has_expired_is_not_listed(tmp_path: Path) -> None:
    """A static token that has expired has no right to a project, and is said to have expired."""
    prod = index_with_all_kinds(tmp_path).named("prod").authenticator

    listed = {entry.who for entry in effective_access(CORE, prod, ())}
    explanation = explain(parse_subject("static:old", prod), READ, CORE, prod, ())

    assert {"static:ci", "static:old"} & listed == {"static:ci"}
    assert explanation.reasons == ("401, because the token is expired",)
