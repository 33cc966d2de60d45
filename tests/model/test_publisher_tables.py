"""The tables of trusted publishers: what they may say, and which issuers come of them."""

import reprlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.jobs import BUILDKITE, GITHUB, GITLAB, GOOGLE, JOBS, OIDC, Table, publisher
from tests.model.statements import ANYTHING, PUBLISH
from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.access import Action
from wheelyard.model.publisher import max_lifetime_by_issuer, parse_publisher, require_agreement
from wheelyard.model.publisher_claim_rules import ProviderIssuer


def test_each_issuer_is_listed_once_with_its_longest_lifetime() -> None:
    """Each issuer is asked for once, with the longest life that one of its publishers allows."""
    tables = [
        GITLAB,
        {**GITLAB, "id": "long", "max_lifetime": 7200},
        {**GITLAB, "id": "own", "issuer": "https://gitlab.acme.dev"},
        GOOGLE,
    ]

    assert max_lifetime_by_issuer(map(parse_publisher, tables)) == {
        ProviderIssuer(("https://gitlab.com",), "https://gitlab.com/oauth/discovery/keys"): 7200,
        ProviderIssuer(
            ("https://gitlab.acme.dev",), "https://gitlab.acme.dev/oauth/discovery/keys"
        ): 3700,
        ProviderIssuer(
            ("https://accounts.google.com", "accounts.google.com"),
            "https://www.googleapis.com/oauth2/v3/certs",
        ): 3700,
    }


def test_projects_are_normalised_and_named_once() -> None:
    """Projects are named exactly, in any spelling, and each counts once."""
    assert publisher(GITHUB, projects=["My_Lib", "my.lib", "other"]).projects == ("my-lib", "other")


@pytest.mark.parametrize(
    ("actions", "can"),
    [
        (None, Action.UPLOAD.with_implied),
        (["upload"], Action.UPLOAD.with_implied),
        (["read", "upload"], Action.UPLOAD.with_implied),
        (["read"], Action.READ),
    ],
)
def test_a_publisher_uploads_unless_it_only_reads(actions: list[str] | None, can: Action) -> None:
    """A publisher uploads, which implies reading, unless its table says that it only reads."""
    assert publisher(GITHUB, actions=actions).actions == can


def test_a_publisher_that_reads_may_name_patterns() -> None:
    """A publisher that only reads may read all projects whose names begin in one way."""
    reader = publisher(GITHUB, actions=["read"], projects=["Acme_*", "tools"])

    assert reader.projects == ("acme-*", "tools")
    with pytest.raises(Invalid, match=r"a star at the end of a name needs actions = \["):
        publisher(GITHUB, projects=["acme-*"])


WRONG_TABLES = [
    (GITHUB, {"projct": ["mylib"]}, "projct"),
    (GITHUB, {"project_path": "group/tools"}, "project_path"),
    (GITHUB, {"id": None}, "id"),
    (GITHUB, {"id": "GH"}, "id"),
    (GITHUB, {"id": "x" * 41}, "id"),
    (GITHUB, {"id": "gh\n"}, "id"),
    (GITHUB, {"id": 7}, "id"),
    (GITHUB, {"provider": "gihub"}, "provider"),
    (GITHUB, {"provider": None}, "provider"),
    (GITHUB, {"projects": None}, "projects"),
    (GITHUB, {"projects": []}, "projects"),
    (GITHUB, {"projects": "mylib"}, "projects"),
    (GITHUB, {"projects": ["acme-*"]}, "projects"),
    (GITHUB, {"projects": ["*"]}, "projects"),
    (GITHUB, {"projects": ["a/b"]}, "projects"),
    (GITHUB, {"actions": ["manage"]}, "actions"),
    (GITHUB, {"actions": []}, "actions"),
    (GITHUB, {"actions": ["read", "manage"]}, "actions"),
    (GITHUB, {"actions": ["admin"]}, "actions"),
    (GITHUB, {"actions": "read"}, "actions"),
    (GITHUB, {"actions": ["read", "upload"], "projects": ["acme-*"]}, "projects"),
    (GITHUB, {"actions": ["read"], "projects": ["a*b"]}, "projects"),
    (GITHUB, {"repository": "octo-repo"}, "repository"),
    (GITHUB, {"repository_id": None}, "repository_id"),
    (GITHUB, {"repository_id": 0}, "repository_id"),
    (GITHUB, {"repository_id": True}, "repository_id"),
    (GITHUB, {"repository_id": "456x"}, "repository_id"),
    (GITHUB, {"owner_id": None}, "owner_id"),
    (GITHUB, {"owner_id": 1.5}, "owner_id"),
    (GITHUB, {"workflow": None}, "workflow"),
    (GITHUB, {"workflow": ".github/workflows/release.yml"}, "workflow"),
    (GITHUB, {"workflow": "release*.yml"}, "workflow"),
    (GITHUB, {"workflow": "release.yml\n"}, "workflow"),
    (GITHUB, {"events": []}, "events"),
    (GITHUB, {"events": "push"}, "events"),
    (GITHUB, {"events": ["push*"]}, "events"),
    (GITHUB, {"events": ["*"]}, "events"),
    (GITHUB, {"events": ["Push"]}, "events"),
    (GITHUB, {"events": ["push\n"]}, "events"),
    (GOOGLE, {"events": ["push"]}, "events"),
    (GITHUB, {"environment": ""}, "environment"),
    (GITHUB, {"environment": "a\0"}, "environment"),
    (GITHUB, {"ref": "refs/*/v1"}, "ref"),
    (GITHUB, {"ref": "*"}, "ref"),
    (GITHUB, {"ref_protected": "true"}, "ref_protected"),
    (GITHUB, {"index": "Dev"}, "index"),
    (GITHUB, {"reusable_workflows": ["publish.yml"]}, "reusable_workflows"),
    (GITHUB, {"reusable_workflows": [PUBLISH]}, "reusable_workflows"),
    (GITHUB, {"reusable_workflows": [f"{PUBLISH}@*"]}, "reusable_workflows"),
    (GITHUB, {"max_lifetime": 0}, "max_lifetime"),
    (GITHUB, {"max_lifetime": 10**6}, "max_lifetime"),
    (GITHUB, {"issuer": "http://github.acme.dev"}, "issuer"),
    (GITHUB, {"issuer": "http://10.0.0.1"}, "issuer"),
    (GITHUB, {"allow_private_issuer": True}, "allow_private_issuer"),
    (GITLAB, {"allow_private_issuer": False}, "allow_private_issuer"),
    (OIDC, {"allow_private_issuer": True}, "allow_private_issuer"),
    (GITHUB, {"issuer": "https://github.acme.dev/"}, "issuer"),
    (GITHUB, {"issuer": "https://a:b@github.acme.dev"}, "issuer"),
    (GITHUB, {"issuer": "https://github.acme.dev?x"}, "issuer"),
    (GITHUB, {"issuer": "https://[x"}, "issuer"),
    (GITHUB, {"issuer": "https://:443"}, "issuer"),
    (GITHUB, {"issuer": "file:///etc/passwd"}, "issuer"),
    (GITHUB, {"issuer": "https://gitlab.com"}, "issuer"),
    (GITLAB, {"project_id": None}, "project_id"),
    (GITLAB, {"namespace_id": None}, "namespace_id"),
    (GITLAB, {"project_path": "tools"}, "project_path"),
    (GITLAB, {"project_path": "/group/tools"}, "project_path"),
    (GITLAB, {"config": "/ci.yml"}, "config"),
    (GITLAB, {"config": "ci.yml@other/project"}, "config"),
    (GITLAB, {"issuer": "https://accounts.google.com"}, "issuer"),
    (GOOGLE, {"sub": None}, "sub"),
    (GOOGLE, {"sub": "1234"}, "sub"),
    (GOOGLE, {"sub": 104857600123456789012}, "sub"),
    (GOOGLE, {"email": "pay-build"}, "email"),
    (GOOGLE, {"email": "päy@acme-pay.iam.gserviceaccount.com"}, "email"),
    (GOOGLE, {"issuer": "https://accounts.google.com"}, "issuer"),
    (BUILDKITE, {"organization": None}, "organization"),
    (BUILDKITE, {"build_branch": None}, "build_branch"),
    (OIDC, {"issuer": None}, "issuer"),
    (OIDC, {"issuer": "http://169.254.169.254/"}, "issuer"),
    (OIDC, {"issuer": "https://token.actions.githubusercontent.com"}, "issuer"),
    (OIDC, {"issuer": "https://gitlab.com/"}, "issuer"),
    (OIDC, {"jwks_url": "file:///etc/passwd"}, "jwks_url"),
    (OIDC, {"jwks_url": "http://keys.acme.dev"}, "jwks_url"),
    (OIDC, {"algorithms": ["HS256"]}, "algorithms"),
    (OIDC, {"algorithms": ["none"]}, "algorithms"),
    (OIDC, {"algorithms": []}, "algorithms"),
    (OIDC, {"match": None}, "match"),
    (OIDC, {"match": {}}, "match"),
    (OIDC, {"match": {"sub": "system:*"}}, "match"),
    (OIDC, {"match": {"sub": "*", "team": "a*"}}, "match"),
    (OIDC, {"match": {"sub": "a*b"}}, "match"),
    (OIDC, {"match": {"sub": "a", "team": "*"}}, "match"),
    (OIDC, {"match": {"team": "a"}}, "match"),
    (OIDC, {"match": {"team": "a", "sub": "b*"}}, "match"),
    (OIDC, {"match": {"trusted": True, "paid": False}}, "match"),
    (OIDC, {"match": {"sub": "a", "aud": "pypi.acme.dev"}}, "match"),
    (OIDC, {"match": {"sub": 7}}, "match"),
    (OIDC, {"match": {"sub": ""}}, "match"),
]


@pytest.mark.parametrize(("table", "changes", "key"), WRONG_TABLES)
def test_a_wrong_table_is_refused_with_its_key(table: Table, changes: Table, key: str) -> None:
    """A table that is wrong is refused at the start, by its id and the key that is wrong."""
    name = changes.get("id", table["id"])

    with refused(Invalid, "bad_setting") as caught:
        publisher(table, **changes)

    assert f": {key}: " in caught.value.message
    assert (repr(name) if isinstance(name, str) else "without an id") in caught.value.message


@given(
    st.sampled_from([table for table, _ in JOBS]),
    st.dictionaries(st.sampled_from(sorted({*GITHUB, *GITLAB, *OIDC})), ANYTHING),
)
def test_any_table_is_read_or_refused(table: Table, changes: dict[str, object]) -> None:
    """Whatever a table holds, it is read or refused."""
    with suppress(Invalid):
        parse_publisher({**table, **changes})


def test_publishers_that_disagree() -> None:
    """No two publishers have one id, or say different things of one issuer's keys."""
    with pytest.raises(Invalid, match=r"'gh-mylib': id: another"):
        require_agreement(publisher(GITLAB, id="gh-mylib"), [publisher(GITHUB)])
    with pytest.raises(Invalid, match=r"'two': issuer: another"):
        require_agreement(publisher(OIDC, id="two", algorithms=["ES256"]), [publisher(OIDC)])


HOST = "oidc.eks.eu-west-1.amazonaws.com"
"""That of the issuer of `OIDC`."""


@pytest.mark.parametrize(
    ("changes", "listed", "is_private", "is_allowed"),
    [
        ({}, (), False, False),
        ({"issuer": "https://ci.acme.dev"}, ("https://ci.acme.dev/",), False, True),
        ({"issuer": "https://ci.acme.dev/"}, ("https://ci.acme.dev",), False, True),
        ({"issuer": "https://ci.acme.dev"}, ("https://ci.acme.dev.evil",), False, False),
        ({"issuer": "https://ci.acme.dev"}, ("https://ci.acme.dev/a",), False, False),
        ({"issuer": "http://127.0.0.1:8123"}, (), True, False),
        ({"issuer": "http://127.0.0.1:8123"}, ("http://127.0.0.1:8123",), True, True),
        ({"issuer": "https://10.0.0.1"}, ("https://10.0.0.1",), True, True),
        ({"issuer": "https://[fd00::1]"}, (), True, False),
        ({"jwks_url": "https://10.0.0.1/keys"}, (OIDC["issuer"],), True, False),
        ({"jwks_url": f"{OIDC['issuer']}/keys"}, (OIDC["issuer"],), False, True),
        ({"jwks_url": f"https://{HOST}:8443/keys"}, (OIDC["issuer"],), False, False),
    ],
    ids=reprlib.repr,
)
def test_private_issuers_are_those_of_the_settings(
    changes: Table, listed: tuple[str, ...], *, is_private: bool, is_allowed: bool
) -> None:
    """A private address may be asked if the settings name its issuer, and for keys there alone."""
    parsed = publisher({**OIDC, "jwks_url": None, **changes})

    assert parsed.has_private_address == is_private
    assert parsed.issuer.may_be_private(listed) == is_allowed
