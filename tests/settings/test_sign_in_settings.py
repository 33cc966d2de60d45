"""Tables `[[sign_in]]`: what is refused before a server starts, and where secrets come from."""

from pathlib import Path

import pytest

from tests.advice import texts_of
from tests.index_tables import grants_in
from tests.settings.written import settings_of as written_settings
from wheelyard.errors import Invalid
from wheelyard.settings.load import load_settings, unknown_variables
from wheelyard.settings.sections import Settings, require_sign_in_secrets
from wheelyard.settings.validation import access_warnings, stored_grant_warnings

ACME = """
[[sign_in]]
name = "acme"
issuer = "https://login.acme.dev"
client_id = "wheelyard"
"""
GOOGLE = ACME.replace("https://login.acme.dev", "https://accounts.google.com")
GITHUB = ACME.replace("login.acme.dev", "github.com") + 'kind = "github"\n'
MICROSOFT = "login.microsoftonline.com"
PERSONAL_ACCOUNTS = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant in which anybody gets an account, as Microsoft documents it."""
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
FOR_ALL = """
[[grant]]
who = ["allAuthenticated"]
projects = ["*"]
actions = ["read"]
"""
SECRET = "WHEELYARD_SIGN_IN_ACME_SECRET"


def settings_of(toml: str, **variables: str) -> Settings:
    """Return the settings of a file, and of variables."""
    return load_settings(environ={"WHEELYARD_TOML": toml, **variables}).settings


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[[sign_in]]\nname = 'acme'", "sign_in 1.issuer: is missing. Write a URL such as"),
        (ACME.replace('"acme"', '"Acme"'), "sign_in 1.name: expected up to 31 letters a-z"),
        (
            ACME + 'secrets = "x"',
            "sign_in 1: there is no 'secrets', but name, issuer, client_id, kind, title",
        ),
        (ACME + 'kind = "saml"', "sign_in 1.kind: expected openid or github"),
        (
            ACME.replace("login.acme.dev", "github.com"),
            'sign_in 1.issuer: GitHub has no OpenID Connect for people. Add kind = "github"',
        ),
        (
            GITHUB.replace("github.com", "github.com/login/oauth"),
            "sign_in 1.issuer: that is a page of GitHub. Write the host alone",
        ),
        (GITHUB + "groups_claim = 'teams'", "sign_in 1.groups_claim: with GitHub it is always"),
        (GITHUB + "scopes = ['repo']", "sign_in 1.scopes: with GitHub it is always the same"),
        (
            GITHUB + "require = { org = 'acme' }",
            "sign_in 1.require: of GitHub it can have login, organizations, teams",
        ),
        (
            GITHUB + "require = { organizations = ['Acme'] }",
            "sign_in 1.require: names of GitHub are in lower case here",
        ),
        (GITHUB + "parameters = { scope = 'repo' }", "wheelyard itself sends scope"),
        (ACME + "scopes = ['email']", "sign_in 1.scopes: without openid there is no ID token"),
        (ACME + "scopes = ['openid email']", "sign_in 1.scopes: expected scopes such as email"),
        (
            ACME + "parameters = { nonce = '1' }",
            "sign_in 1.parameters: wheelyard itself sends nonce",
        ),
        (ACME + "parameters = { max_age = 1 }", "sign_in 1.parameters: expected a table of texts"),
        (ACME + "require = { hd = [] }", "sign_in 1.require: expected a table of claims"),
        (ACME + "session_hours = 13", "sign_in 1.session_hours: expected a number from 1 to 12"),
        (ACME + "renew_minutes = 1", "sign_in 1.renew_minutes: expected a number from 5 to 60"),
        (ACME.replace("https", "http"), "sign_in 1.issuer: over plain HTTP others could sign in"),
        (
            ACME.replace("https", "http") + "allow_private = true",
            "plain HTTP is for an issuer of this machine, with allow_private",
        ),
        (
            ACME.replace("login.acme.dev", "login.microsoftonline.com/common/v2.0"),
            "Write the id of yours: https://login.microsoftonline.com/TENANT-ID/v2.0",
        ),
        (
            ACME.replace("login.acme.dev", "login.microsoftonline.com"),
            "Write the id of yours: https://login.microsoftonline.com/TENANT-ID/v2.0",
        ),
        (ACME + ACME, "sign_in.name: two tables have the same. Change one"),
        (ACME + "[server]\nhost = '0.0.0.0'", "sign_in: providers send people back to an address"),
        (ACME + "[server]\ntrusted_proxies = 1", "Set server.public_url, such as https://"),
        (ACME + "[server]\nread_only = true", "sign_in: who signs in and out is written to"),
        (ACME + "[iap]\naudience = ['/a']", "sign_in: behind Identity-Aware Proxy everybody is"),
        ("[sign_in]\nname = 'acme'", "sign_in: expected tables, in [[ ]]"),
        (
            ACME + "[access]\ncookie_login = false",
            "access.cookie_login: it is off, and who signs in with a provider of [[sign_in]] has",
        ),
    ],
)
def test_what_is_wrong_stops_the_start(toml: str, words: str) -> None:
    """A wrong table stops the start by one line."""
    with pytest.raises(Invalid) as refused:
        settings_of(toml)
    assert words in refused.value.message
    assert "\n" not in refused.value.message


def test_a_table_needs_little() -> None:
    """Name, issuer and client id are enough on this machine, and a session is then possible."""
    settings = settings_of(ACME)
    (provider,) = settings.sign_in_providers
    assert (provider.scopes, provider.name_claim) == (("openid", "email", "profile"), "email")
    assert (provider.session_hours, provider.renew_minutes) == (12, 15)
    assert settings.access.cookie_login
    assert settings_of("").access.cookie_login is False


def test_several_providers_at_once() -> None:
    """Each table of a sign-in is a provider of its own, in the order of the file."""
    toml = ACME + ACME.replace('"acme"', '"b-2"') + 'require = { hd = ["a", "b"] }'
    names = [provider.name for provider in settings_of(toml).sign_in_providers]
    assert names == ["acme", "b-2"]


def test_secrets_come_from_the_environment() -> None:
    """A provider's secret is in the variable with its name; a secret of no table is a mistake."""
    toml = ACME + ACME.replace('"acme"', '"b-2"')
    settings = settings_of(
        toml, WHEELYARD_SIGN_IN_ACME_SECRET="s3cret", WHEELYARD_SIGN_IN_B_2_SECRET="t3cret"
    )
    assert [provider.secret for provider in settings.sign_in_providers] == ["s3cret", "t3cret"]
    require_sign_in_secrets(settings)
    assert "3cret" not in f"{settings!r}{settings.sign_in_providers!r}"
    assert unknown_variables({SECRET: "s3cret"}) == []
    with pytest.raises(Invalid, match=r"WHEELYARD_SIGN_IN_B_SECRET: no \[\[sign_in\]\] has a name"):
        settings_of(ACME, WHEELYARD_SIGN_IN_B_SECRET="s3cret")


@pytest.mark.parametrize("key", ["secret", "client_secret"])
def test_a_secret_in_a_file_stops_the_start(key: str, tmp_path: Path) -> None:
    """A file is read by many, so it must not have the secret; the message says where it belongs."""
    with pytest.raises(Invalid) as refused:
        written_settings(f"{ACME}{key} = 's3cret'", tmp_path)
    assert refused.value.message.startswith(
        f"sign_in.{key}: a secret is not for a file that others may read. Set {SECRET}"
    )


def test_only_a_server_needs_the_secrets() -> None:
    """Commands work in a shell without the secrets; a server says in one line which are missing."""
    settings = settings_of(ACME + ACME.replace('"acme"', '"b"'))
    with pytest.raises(Invalid) as refused:
        require_sign_in_secrets(settings)
    assert refused.value.message.startswith(
        "sign_in: the secret of the client is missing. Set WHEELYARD_SIGN_IN_ACME_SECRET and "
        "WHEELYARD_SIGN_IN_B_SECRET to what the provider has given you"
    )


def test_a_public_url_is_enough_behind_a_proxy() -> None:
    """With the address that people use, a server may listen anywhere."""
    server = "[server]\nhost = '0.0.0.0'\ntrusted_proxies = 1\npublic_url = 'https://p.acme.dev'"
    assert settings_of(ACME + server).base_url == "https://p.acme.dev"


@pytest.mark.parametrize(
    ("toml", "is_warned"),
    [
        (GOOGLE, True),
        (GOOGLE + 'require = { hd = "acme.dev" }', False),
        (ACME, False),
        (ACME.replace("login.acme.dev", "gitlab.com"), True),
        (ACME.replace("login.acme.dev", f"{MICROSOFT}/{PERSONAL_ACCOUNTS}/v2.0"), True),
        (ACME.replace("login.acme.dev", f"{MICROSOFT}/{TENANT}/v2.0"), False),
        (GITHUB, True),
        (GITHUB + 'require = { organizations = ["acme"] }', False),
        (GITHUB.replace("github.com", "github.acme.dev"), False),
    ],
)
def test_a_grant_to_everybody_with_an_account_there_is_warned_of(
    toml: str, *, is_warned: bool
) -> None:
    """Where anybody has an account, a grant to all who sign in is one to the world."""
    warnings = texts_of(access_warnings(settings_of(toml), grants_in(FOR_ALL)))
    assert any("require" in text for text in warnings) == is_warned


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[sign_in]\nname = 'acme'", "sign_in: expected tables, in [[ ]]"),
        (ACME.replace('"acme"', '"acme.dev"'), "sign_in 1.name: expected up to 31 letters"),
    ],
)
def test_a_secret_hides_no_other_mistake(toml: str, words: str) -> None:
    """What is wrong in the file is said, and not that a secret has no table."""
    with pytest.raises(Invalid) as refused:
        settings_of(toml, **{SECRET: "x"})
    assert words in refused.value.message
    assert SECRET not in refused.value.message


@pytest.mark.parametrize(
    ("toml", "who", "words"),
    [
        (ACME, "oidc:amce:group:ops", "the settings have no [[sign_in]] of this name"),
        (ACME, "oidc:amce:ana@acme.dev", "the settings have no [[sign_in]] of this name"),
        ("", "oidc:acme:ana@acme.dev", "the settings have no [[sign_in]] of this name"),
        (ACME, "oidc:acme:group:ops", "acme says no groups; name the claim that has them"),
        (ACME + 'groups_claim = "groups"', "oidc:acme:group:ops", ""),
        (GITHUB, "oidc:acme:group:acme/ops", ""),
        (ACME, "oidc:acme:ana@acme.dev", ""),
    ],
)
def test_a_grant_that_nobody_can_have_is_warned_of(toml: str, who: str, words: str) -> None:
    """A misspelt provider, or one that says no groups, is told of with the grant and later."""
    grants = grants_in(FOR_ALL.replace("allAuthenticated", who))
    settings = settings_of(toml)
    warnings = stored_grant_warnings(settings, grants.all[0], grants, ())
    later = [text for text in texts_of(access_warnings(settings, grants)) if who in text]
    at_once = [text for text in texts_of(warnings) if who in text]
    assert later == at_once
    assert [words in text for text in at_once] == [True] * bool(words)
