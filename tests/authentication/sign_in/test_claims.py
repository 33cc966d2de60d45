"""From a provider's claims to a person: names, groups, and who may not sign in."""

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.authentication.rejections import rejection_reason
from wheelyard.authentication.sign_in.claims import (
    MAX_GROUPS,
    confirmation_of,
    groups_problem,
    merge_claims,
    needed_claims,
)
from wheelyard.authentication.sign_in.github import GitHubProvider
from wheelyard.authentication.sign_in.provider import Confirmation, ProviderConfig
from wheelyard.errors import Forbidden, Unavailable
from wheelyard.http_client.json_client import JsonClient, JsonResponse
from wheelyard.model.grants import parse_principal
from wheelyard.model.person import group_principal

HONEST = {"sub": "ana-of-acme", "email": "ana@acme.dev", "email_verified": True}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def config(
    name_claim: str = "email",
    groups_claim: str | None = "groups",
    **require: tuple[str, ...],
) -> ProviderConfig:
    """Return the settings of a provider."""
    return ProviderConfig(
        name="acme",
        title="Acme",
        issuer="https://login.acme.dev",
        client_id="wheelyard",
        secret="s3cret",
        redirect_uri="https://packages.acme.dev/-/sign-in/acme/callback",
        scopes=("openid",),
        name_claim=name_claim,
        groups_claim=groups_claim,
        require=require,
        parameters={},
        session_seconds=3600,
        renew_seconds=900,
    )


def refusal(claims: dict[str, object], settings: ProviderConfig | None = None) -> str:
    """Return the reason for which claims sign nobody in."""
    with pytest.raises(Forbidden) as refused:
        confirmation_of(claims, settings or config())
    return rejection_reason(refused.value, "none")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sub": None}, "subject_unfit"),
        ({"sub": ""}, "subject_unfit"),
        ({"sub": "ä"}, "subject_unfit"),
        ({"sub": "a" * 256}, "subject_unfit"),
        ({"sub": 7}, "subject_unfit"),
        ({"email": None}, "name_missing"),
        ({"email": " "}, "name_missing"),
        ({"email": ["ana@acme.dev"]}, "name_missing"),
        ({"email_verified": False}, "email_unverified"),
        ({"email_verified": None}, "email_unverified"),
        ({"email_verified": "false"}, "email_unverified"),
        ({"email_verified": 1}, "email_unverified"),
        ({"email": "ana,bo@acme.dev"}, "name_unfit"),
        ({"email": "ana@acme.dev#0123456789abcdef0123456789abcdef"}, "name_unfit"),
        ({"email": "group:admins"}, "name_unfit"),
        ({"email": "ana\u202e@acme.dev"}, "name_unfit"),
        ({"email": "ana\n@acme.dev"}, "name_unfit"),
        ({"email": f"{'a' * 250}@acme.dev"}, "name_unfit"),
        ({"groups": [f"g{number}" for number in range(MAX_GROUPS + 1)]}, "too_many_groups"),
    ],
)
def test_unfit_claims_sign_nobody_in(changes: dict[str, object], reason: str) -> None:
    """Claims without a fit subject, a verified name or few enough groups sign nobody in."""
    assert refusal({**HONEST, **changes}) == reason


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Ana@ACME.dev", "ana@acme.dev"),
        (" ana@acme.dev ", "ana@acme.dev"),
        ("jose\u0301@acme.dev", "jos\u00e9@acme.dev"),
    ],
)
def test_an_address_is_one_name_however_it_is_written(value: str, name: str) -> None:
    """Upper case, blanks around it and the form of its accents make no other person."""
    assert confirmation_of({**HONEST, "email": value}, config()).name == name
    assert parse_principal(f"oidc:acme:{value}") == f"oidc:acme:{name}"


def test_another_claim_than_the_address_needs_no_verification() -> None:
    """A name of another claim than the address needs no verification."""
    claims = {"sub": "ana-of-acme", "preferred_username": "Ana B"}
    assert confirmation_of(claims, config("preferred_username")).name == "Ana B"


@pytest.mark.parametrize("value", [True, "true"])
def test_verified_may_be_a_text(value: object) -> None:
    """An address is verified by `true` and by the text "true"."""
    assert confirmation_of({**HONEST, "email_verified": value}, config()).name == "ana@acme.dev"


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (None, ()),
        ("ops", ("ops",)),
        (["ops", "dev", "ops"], ("dev", "ops")),
        (["/ops/db", "Café"], ("/ops/db", "Café")),
        (["a,b", "", " c", "d\u200b", 7, None, ["e"], "f"], ("f",)),
        ({"ops": True}, ()),
    ],
)
def test_groups_are_those_that_a_grant_can_name(value: object, groups: tuple[str, ...]) -> None:
    """A group whose name cannot stand in a grant is left out, and never read as another one."""
    assert confirmation_of({**HONEST, "groups": value}, config()).groups == tuple(sorted(groups))


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"groups": []}, ""),
        ({"groups": "ops"}, ""),
        ({"groups": ["ops", 7]}, ""),
        ({}, "groups_missing"),
        ({"groups": None}, "groups_missing"),
        ({"groups": {"ops": True}}, "groups_missing"),
        ({"groups": [{"name": "ops"}]}, "groups_missing"),
        ({"groups": ["ops", ""]}, "groups_unfit"),
        ({"groups": ["d\u200b"]}, "groups_unfit"),
        ({"groups": ["a,b"]}, "groups_unfit"),
        (
            {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}},
            "groups_elsewhere",
        ),
        ({"groups": ["ops"], "_claim_names": {"groups": "src1"}}, ""),
    ],
)
def test_groups_that_no_grant_can_name_are_told_of(claims: dict[str, object], problem: str) -> None:
    """A groups_claim that gives no usable groups is told to the operator; no groups are fine."""
    assert groups_problem({**HONEST, **claims}, config()).partition(":")[0] == problem
    assert groups_problem({**HONEST, **claims}, config(groups_claim=None)) == ""


def test_a_nested_claim_is_said_to_have_no_name() -> None:
    """A groups_claim with a dot, as Keycloak shows some, is said to name no nested claim."""
    claims = {**HONEST, "realm_access": {"roles": ["ops"]}}
    problem = groups_problem(claims, config(groups_claim="realm_access.roles"))
    assert "groups_claim, which cannot name a nested claim" in problem


@pytest.mark.parametrize("claim", ["acme.dev", ["other", "acme.dev"]])
def test_a_required_claim_has_one_of_its_values(claim: object) -> None:
    """Whoever has a value that the settings name may sign in."""
    settings = config(hd=("acme.dev", "acme.example"))

    assert confirmation_of({**HONEST, "hd": claim}, settings).subject == "ana-of-acme"


@pytest.mark.parametrize("claim", ["acme.dev.evil", "ACME.dev", {"acme.dev": 1}, None, []])
def test_a_required_claim_with_another_value_is_refused(claim: object) -> None:
    """Whoever has none of the values that the settings name may not sign in."""
    settings = config(hd=("acme.dev", "acme.example"))

    assert refusal({**HONEST, "hd": claim}, settings) == "claim_hd"


def test_what_is_needed_follows_from_the_settings() -> None:
    """Only claims that the settings name are asked for, and whether an address is verified."""
    assert needed_claims(config(groups_claim=None)) == {"email", "email_verified"}
    assert needed_claims(config("upn", hd=("a",))) == {"upn", "groups", "hd"}


@pytest.mark.parametrize(
    ("token", "userinfo", "name"),
    [
        (HONEST, {"email": "bo@acme.dev"}, "ana@acme.dev"),
        (HONEST, {"email": "bo@acme.dev", "email_verified": True}, "ana@acme.dev"),
        (
            {"email": "ana@acme.dev"},
            {"email": "bo@acme.dev", "email_verified": True},
            "bo@acme.dev",
        ),
    ],
)
def test_an_address_is_verified_by_the_answer_that_has_it(
    token: dict[str, object], userinfo: dict[str, object], name: str
) -> None:
    """An address counts that the answer with the address has verified."""
    claims = merge_claims({"sub": "ana", **token}, {"sub": "ana", **userinfo, "groups": ["ops"]})

    person = confirmation_of(claims, config())
    assert (person.name, person.groups) == (name, ("ops",))


@pytest.mark.parametrize(
    ("token", "userinfo"),
    [
        ({"email": "ana@acme.dev"}, {"email_verified": True}),
        ({"email_verified": True}, {"email": "bo@acme.dev"}),
        ({}, {"email": "bo@acme.dev"}),
        ({"email": "ana@acme.dev"}, {}),
    ],
)
def test_an_address_is_verified_by_no_other_answer(
    token: dict[str, object], userinfo: dict[str, object]
) -> None:
    """An address that the answer with the address has not verified does not count."""
    claims = merge_claims({"sub": "ana", **token}, {"sub": "ana", **userinfo})

    assert refusal({**claims}) == "email_unverified"


@given(
    st.dictionaries(
        st.sampled_from(["sub", "email", "email_verified", "groups", "hd", "_claim_names"]), JSON
    )
)
def test_any_claims_give_a_person_or_a_refusal(claims: dict[str, object]) -> None:
    """Whatever claims a provider sends, they name somebody whom a grant can name, or nobody."""
    try:
        person = confirmation_of({**HONEST, **claims}, config())
    except Forbidden:
        return
    assert isinstance(person, Confirmation)
    principal = f"oidc:acme:{person.name}"
    groups = [group_principal("acme", group) for group in person.groups]
    assert [parse_principal(text) for text in (principal, *groups)] == [principal, *groups]


class CannedGitHub:
    """Answers as GitHub does about an account that is in no team."""

    def __init__(self, account: dict[str, object]) -> None:
        self.account = account

    def fetch(self, url: str, **_options: object) -> JsonResponse:
        """Return the answer of a path."""
        answer = self.account if url.endswith("/user") else []
        return JsonResponse(200, json.dumps(answer).encode())


@pytest.mark.parametrize("number", [None, "7", True, 0, -7, 7.0])
def test_an_account_of_github_has_a_number(number: object) -> None:
    """An account without a positive number is nobody, as logins change hands."""
    client = cast("JsonClient", CannedGitHub({"id": number, "login": "ana"}))
    provider = GitHubProvider(config("login"), client)

    with pytest.raises(Unavailable) as refused:
        provider.renew("token", str(number))
    assert rejection_reason(refused.value, "none") == "provider_silent"


def test_a_person_is_the_number_of_the_account() -> None:
    """Somebody with an account of GitHub is known by its number."""
    client = cast("JsonClient", CannedGitHub({"id": 7, "login": "Ana"}))
    provider = GitHubProvider(config("login", groups_claim=None), client)

    confirmation = provider.renew("token", "7")
    assert (confirmation.subject, confirmation.name) == ("7", "ana")
