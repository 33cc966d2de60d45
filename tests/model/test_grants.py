"""Grants: what their tables may say, whom they mean, and what they let them do."""

from collections.abc import Iterable
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.access import Action
from wheelyard.model.api_token import new_token
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.model.grants import (
    NO_GROUPS,
    AccessRules,
    Grant,
    Granted,
    GrantFields,
    Grants,
    Groups,
    build_grant,
    describe_grant,
    grants_of,
    parse_principal,
)

TABLE: dict[str, object] = {
    "who": ["user:ana@acme.dev"],
    "projects": ["acme-*"],
    "actions": ["upload"],
}
CORE = NormalizedName("acme-core")


def grant(**changes: object) -> Grant:
    """Return a grant whose table differs in these keys; None leaves one out."""
    table = {key: value for key, value in {**TABLE, **changes}.items() if value is not None}
    return parsed(table)


def parsed(table: dict[str, object], groups: Groups = NO_GROUPS) -> Grant:
    """Return the grant of a table."""
    return build_grant("g1", decode_table(table, GrantFields), groups)


def gives(
    grants: Grants, principals: Iterable[str], action: Action, project: NormalizedName
) -> bool:
    """Return whether one of the grants gives one of these principals a right."""
    return any(scope.permits(action, project) for scope in grants.scopes_of(principals))


def test_a_grant_permits_what_it_says_and_implies() -> None:
    """A grant lets those whom it names do what it says, and what that implies, and no more."""
    every = Grants((grant(note="the team"),))
    names = ("anonymous", "user:ana@acme.dev")
    assert gives(every, names, Action.READ, CORE)
    assert gives(every, names, Action.UPLOAD, CORE)
    assert not gives(every, names, Action.MANAGE, CORE)
    assert not gives(every, names, Action.READ, NormalizedName("acme"))
    assert not gives(every, ("user:bo@acme.dev",), Action.READ, CORE)
    assert str(every.all[0]) == "grant g1 (the team)"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("anonymous", "anonymous"),
        ("allAuthenticated", "allAuthenticated"),
        ("user:Ana@Acme.dev", "user:ana@acme.dev"),
        (
            "serviceAccount:CI@x.iam.gserviceaccount.com",
            "serviceAccount:ci@x.iam.gserviceaccount.com",
        ),
        ("serviceAccount:ci@x.iam.gserviceaccount.com#12345", None),
        ("domain:ACME.dev", "domain:acme.dev"),
        ("htpasswd:Ana", "htpasswd:Ana"),
        ("static:My CI", "static:My CI"),
        ("publisher:gh-mylib", None),
        ("token:A1b2C3d4E5", None),
    ],
)
def test_addresses_and_domains_are_compared_in_lower_case(written: str, meant: str | None) -> None:
    """E-mail addresses and domains are compared in lower case, all other names to the letter."""
    assert parse_principal(written) == (meant or written)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ana", "ana@acme.dev", "user:", "user:ana", "user:änä@acme.dev"),
        *("user:ana@acme.dev ", "User:ana@acme.dev", "USER:ANA@ACME.DEV", "domain:acme"),
        *("domain:*.dev", "htpasswd:a:b", "htpasswd:a\nb", "publisher:GH", "token:short"),
        *("token:*", "group:team@acme.dev", "allUsers", "Anonymous", "*"),
    ],
)
def test_an_invalid_principal_is_refused(text: str) -> None:
    """An invalid principal is refused, so that a typing error cannot grant rights."""
    with refused(Invalid, "bad_setting"):
        parse_principal(text)


def test_a_malformed_token() -> None:
    """Whoever writes a token's name, or the token itself, is told where its id is."""
    secret = new_token(Random(0)).text
    for written in ("token:abc", f"token:{secret}"):
        with pytest.raises(Invalid, match="10 letters and digits that a list") as caught:
            parse_principal(written)
        assert "token:ID" not in caught.value.message
        assert secret[20:40] not in caught.value.message


def test_whom_a_grant_names_in_words() -> None:
    """Commas are between the ids of whom a grant names; semicolons between words with commas."""
    named = grant(who=["static:ci", "user:ana@acme.dev"])
    words = {"static:ci": "ci, in the settings", "user:ana@acme.dev": "ana@acme.dev, by Google"}
    rights = "may read and upload to acme-* in the index main"

    assert describe_grant(named) == f"static:ci, user:ana@acme.dev {rights}"
    in_words = describe_grant(named, words.__getitem__)
    assert in_words == f"ci, in the settings; ana@acme.dev, by Google {rights}"


def test_a_grant_to_a_group_is_one_to_each_member() -> None:
    """A grant to a group is one to each of its members."""
    granted = Granted(
        at=datetime(2026, 1, 1, tzinfo=UTC),
        by="local:ana",
        id="g1",
        grant=GrantFields(
            who=("group:team", "group:empty", "htpasswd:bo"),
            projects=("acme-*",),
            actions=("upload",),
        ),
    )
    groups = {"team": ("htpasswd:ml-ci", "user:Ana@acme.dev"), "empty": ()}
    every = grants_of(AccessRules(entries=(granted,), groups=groups))

    for name in ("htpasswd:ml-ci", "user:ana@acme.dev", "htpasswd:bo"):
        assert gives(every, [name], Action.UPLOAD, CORE)
    assert not gives(every, ["group:team", "htpasswd:ana"], Action.READ, CORE)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("group:taem", "'group:taem' names no group. There are ops, team; list its members"),
        ("group:team@acme.dev", "no credential tells of Google groups"),
    ],
)
def test_a_grant_to_an_unknown_group_is_refused(who: str, words: str) -> None:
    """A grant to an unknown group is refused with the groups that there are."""
    with pytest.raises(Invalid) as caught:
        parsed({**TABLE, "who": [who]}, {"team": frozenset(), "ops": frozenset()})
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"who": []}, "who: expected"),
        ({"who": None}, 'who: is missing, give a list such as ["user:ana@acme.dev"]'),
        ({"who": "user:ana@acme.dev"}, "who: expected"),
        ({"who": [1]}, "who: expected"),
        ({"who": ["user:ana"]}, "'user:ana' is nobody"),
        ({"who": ["serviceAccount:ci@x.dev#one"]}, "serviceAccount:EMAIL#NUMBER"),
        ({"projects": []}, "projects: expected"),
        ({"projects": None}, "projects: is missing"),
        ({"projects": "*"}, 'projects: expected a list such as ["acme-*", "tools"]'),
        ({"projects": ["a*b"]}, "'a*b' is not a project pattern. Write a name"),
        ({"projects": ["[a]"]}, "'[a]'"),
        ({"projects": ["acme-?"]}, "'acme-?'"),
        ({"actions": []}, "actions: expected"),
        ({"actions": None}, "actions: is missing"),
        ({"actions": [1]}, 'actions: expected a list such as ["read", "upload"]'),
        (
            {"actions": ["write"]},
            "'write' is not an action. Use read, upload, manage, approve or admin",
        ),
        ({"actions": ["admin"]}, 'write projects = ["*"]'),
        ({"project": ["acme"]}, "project: there is no such key"),
        ({"note": 1}, "note: expected a line of text"),
        ({"who": ["anonymous"]}, 'write actions = ["read"]'),
        ({"who": ["anonymous", "user:a@b.dev"], "actions": ["read", "manage"]}, "anonymous may"),
    ],
    ids=str,
)
def test_a_wrong_table_is_refused(changes: dict[str, object], words: str) -> None:
    """A table that is wrong is refused, with what is right."""
    with pytest.raises((Invalid, InvalidField)) as caught:
        grant(**changes)
    assert isinstance(caught.value, Invalid | InvalidField)
    assert words in caught.value.message


def test_an_admin_may_do_everything() -> None:
    """An admin may do everything to every project."""
    (scope,) = Grants((grant(actions=["admin"], projects=["*"]),)).scopes_of(["user:ana@acme.dev"])
    assert all(scope.permits(action, CORE) for action in Action)


def test_patterns_are_normalised() -> None:
    """A grant for Acme_* is one for acme-*."""
    assert grant(projects=["Acme_*"]) == grant()


WHO = st.sets(st.sampled_from(["anonymous", "user:a@b.cd", "htpasswd:a", "token:0123456789"]))
ACTIONS = st.sampled_from(["read", "upload", "manage"])


@given(st.lists(st.tuples(WHO.filter(bool), ACTIONS), max_size=4), WHO, st.sampled_from(Action))
def test_grants_add_up(tables: list[tuple[set[str], str]], names: set[str], action: Action) -> None:
    """Taking a grant away, or a name, never gives anybody more; nor does the order matter."""
    grants = [
        parsed({"who": sorted(who), "projects": ["*"], "actions": [can]})
        for who, can in tables
        if can == "read" or "anonymous" not in who
    ]
    whole = Grants(tuple(grants))
    may = gives(whole, names, action, CORE)
    assert may == gives(Grants(tuple(reversed(grants))), names, action, CORE)
    for left_out in range(len(grants)):
        fewer = Grants(tuple(grants[:left_out] + grants[left_out + 1 :]))
        assert may or not gives(fewer, names, action, CORE)
    for name in names:
        assert may or not gives(whole, names - {name}, action, CORE)
