"""GitHub: who signs in with an OAuth app, and what of a hostile or broken answer is refused."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.authentication.sign_in.fake_github import (
    API,
    CLIENT,
    SECRET,
    Account,
    FakeGitHub,
    running_github,
)
from tests.authentication.verifiers.fake_issuer import CannedResponse, as_json, loopback_fetcher
from tests.in_process_network import NetworkOrPorts
from wheelyard.authentication.rejections import rejection_reason
from wheelyard.authentication.sign_in.github import GitHubProvider, api_of
from wheelyard.authentication.sign_in.provider import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Confirmation,
    ProviderConfig,
)
from wheelyard.errors import Forbidden, Unavailable, WheelyardError
from wheelyard.http_client.json_client import JsonClient

REQUEST = AuthorizationRequest(state="the-state", nonce="the-nonce", verifier="v" * 43)
ID = "583231"


@dataclass
class Place:
    """GitHub, and an index that asks it."""

    fake: FakeGitHub
    client: JsonClient

    def __post_init__(self) -> None:
        self.config = ProviderConfig(
            name="github",
            title="GitHub",
            issuer=self.fake.issuer,
            client_id=CLIENT,
            secret=SECRET,
            redirect_uri="https://packages.acme.dev/-/sign-in/github/callback",
            scopes=("openid", "email"),
            name_claim="email",
            groups_claim=None,
            require={},
            parameters={"allow_signup": "false"},
            session_seconds=12 * 3600,
            renew_seconds=900,
        )
        self.change()

    def change(self, **changes: object) -> None:
        """Change what the settings say."""
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]
        self.provider = GitHubProvider(self.config, self.client)

    def sign_in(self, **changes: str | None) -> Confirmation:
        """Sign the person in, with an answer that differs so from GitHub's."""
        url = self.provider.authorization_url(REQUEST)
        back: dict[str, str | None] = {**self.fake.authorize(url), **changes}
        answer = AuthorizationAnswer(
            code=back.get("code") or "", error=back.get("error") or "", issuer=back.get("iss")
        )
        return self.provider.redeem(answer, REQUEST)

    def refusal(self, **changes: str | None) -> tuple[type[WheelyardError], str]:
        """Return the class of the error of a sign-in, and the reason that is logged."""
        with pytest.raises(WheelyardError) as refused:
            self.sign_in(**changes)
        assert "Ana-Acme" not in refused.value.message
        return type(refused.value), rejection_reason(refused.value, "none")


@pytest.fixture(scope="module")
def client() -> Iterator[JsonClient]:
    """A client that may ask a server of this machine."""
    with loopback_fetcher() as client:
        yield client


@pytest.fixture
def place(client: JsonClient, network: NetworkOrPorts) -> Iterator[Place]:
    """GitHub with one account."""
    with running_github(network) as fake:
        yield Place(fake, client)


def test_somebody_signs_in(place: Place) -> None:
    """A person is known by the number of the account, the login and the teams."""
    confirmation = place.sign_in()
    assert confirmation == Confirmation(
        subject=ID,
        name="ana-acme",
        groups=("acme/docs", "acme/platform"),
        refresh_token=confirmation.refresh_token,
    )
    assert confirmation.refresh_token in place.fake.tokens
    assert place.fake.asked("user/orgs") == []


def test_a_browser_is_sent_with_all_that_protects_the_answer(place: Place) -> None:
    """The URL of the sign-in has state, the digest of the verifier and what settings add."""
    asked = parse_qs(urlsplit(place.provider.authorization_url(REQUEST)).query)
    assert len(asked.pop("code_challenge")[0]) == 43
    assert asked == {
        "allow_signup": ["false"],
        "response_type": ["code"],
        "client_id": [CLIENT],
        "redirect_uri": ["https://packages.acme.dev/-/sign-in/github/callback"],
        "scope": ["read:user read:org"],
        "state": ["the-state"],
        "code_challenge_method": ["S256"],
    }


@pytest.mark.parametrize(
    ("issuer", "api"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://github.com/", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://github.acme.dev", "https://github.acme.dev/api/v3"),
        ("https://github.com.evil.example", "https://github.com.evil.example/api/v3"),
        ("https://evilghe.com", "https://evilghe.com/api/v3"),
    ],
)
def test_each_github_has_its_api(issuer: str, api: str) -> None:
    """Each GitHub has its own API, to which the token of a person is sent."""
    assert api_of(issuer) == api


@pytest.mark.parametrize("hidden", [0, 1])
def test_all_teams_are_asked_for(place: Place, hidden: int) -> None:
    """All teams of a person are asked for, page by page, though GitHub hides a few."""
    place.fake.account.teams = tuple(f"acme/team-{number}" for number in range(120))
    place.fake.hidden = hidden
    assert len(place.sign_in().groups) == 120 - 3 * hidden
    assert place.fake.asked("user/teams") == [f"per_page=50&page={page}" for page in (1, 2, 3, 4)]


def test_who_is_in_too_many_teams_is_refused(place: Place) -> None:
    """Who is in too many teams is refused, as no team may be left out silently."""
    place.fake.account.teams = tuple(f"acme/team-{number}" for number in range(2050))
    assert place.refusal() == (Forbidden, "too_many_groups")


def test_a_team_of_another_organization_is_another_group(place: Place) -> None:
    """A team has the name of its organisation, so that no other organisation can claim it."""
    place.fake.account.teams = ("Evil/platform",)
    assert place.sign_in().groups == ("evil/platform",)


def test_members_of_an_organization_sign_in(place: Place) -> None:
    """Who is in one of the organisations of the settings may sign in."""
    place.change(require={"organizations": ("acme", "acme-labs")})
    place.fake.account.organizations = ("Other", "Acme")

    assert place.sign_in().subject == ID


@pytest.mark.parametrize("organizations", [("Other",), (), ("acme-evil",)])
def test_only_members_of_an_organization_sign_in(
    place: Place, organizations: tuple[str, ...]
) -> None:
    """Who is in none of the organisations of the settings is refused."""
    place.change(require={"organizations": ("acme", "acme-labs")})
    place.fake.account.organizations = organizations

    assert place.refusal() == (Forbidden, "claim_organizations")


@pytest.mark.parametrize("issuer", ["https://evil.example/login/oauth", "https://github.com", ""])
def test_an_answer_of_another_issuer_is_refused(place: Place, issuer: str) -> None:
    """An answer of another issuer is refused, and its code is sent to nobody."""
    assert place.refusal(iss=issuer) == (Forbidden, "answer_iss")
    assert place.fake.server.asked("/login/oauth/access_token") == 0
    assert place.sign_in(iss=None).subject == ID


def test_a_code_is_used_once_and_by_its_verifier_alone(place: Place) -> None:
    """A code that was used, or that another verifier comes with, signs nobody in."""
    back = place.fake.authorize(place.provider.authorization_url(REQUEST))
    answer = AuthorizationAnswer(code=back["code"])
    assert place.provider.redeem(answer, REQUEST).subject == ID
    stolen = place.fake.authorize(place.provider.authorization_url(REQUEST))
    other = replace(REQUEST, verifier="w" * 43)
    for code, request in ((back["code"], REQUEST), (stolen["code"], other)):
        with pytest.raises(Forbidden) as refused:
            place.provider.redeem(AuthorizationAnswer(code=code), request)
        assert rejection_reason(refused.value, "") == "provider_bad_verification_code"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("access_denied", Forbidden),
        ("unverified_user_email", Forbidden),
        ("application_suspended", Unavailable),
        ("redirect_uri_mismatch", Unavailable),
    ],
)
def test_an_error_of_github_is_told_apart(
    place: Place, error: str, kind: type[WheelyardError]
) -> None:
    """An error of GitHub about a person is a refusal; one about the app is an outage."""
    assert place.refusal(error=error, code=None) == (kind, f"provider_{error}")
    place.fake.error = error
    assert place.refusal() == (kind, f"provider_{error}")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("user", {}),
        ("user", []),
        ("user", {"login": "ana"}),
        ("user", {"login": "ana", "id": "583231"}),
        ("user", {"login": "ana", "id": True}),
        ("user", {"login": "ana", "id": 0}),
        ("user", {"id": 583231}),
        ("user/teams", {}),
        ("user/teams", ["platform"]),
        ("user/teams", [{"slug": "platform"}]),
        ("user/teams", [{"slug": "platform", "organization": {"login": ""}}]),
        ("user/teams", [{"slug": "x/y", "organization": {"login": "acme"}}]),
        ("user/orgs", [{}]),
        ("user/orgs", {"message": "Not Found"}),
    ],
)
def test_an_answer_that_is_none_signs_nobody_in(place: Place, path: str, body: object) -> None:
    """An answer of the API that is not as documented signs nobody in."""
    place.change(require={"organizations": ("acme",)})
    place.fake.server.answers[f"{API}/{path}"] = as_json(body)
    assert place.refusal() == (Unavailable, "provider_silent")


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": "a b\r\nX: y"}])
def test_an_answer_without_a_token_signs_nobody_in(place: Place, body: object) -> None:
    """An answer without a usable token signs nobody in, and nothing is sent to the API."""
    place.fake.server.answers["/login/oauth/access_token"] = as_json(body)
    assert place.refusal() == (Forbidden, "access_token_missing")
    assert place.fake.asked("user") == []


def test_a_renewal_brings_what_is_true_now(place: Place) -> None:
    """A renewal asks the API again, and brings the login and the teams of now."""
    token = place.sign_in().refresh_token
    place.fake.account = Account(login="Ana-New", teams=("acme/docs",))
    assert place.provider.renew(token, ID) == Confirmation(
        subject=ID, name="ana-new", groups=("acme/docs",)
    )


def close_account(fake: FakeGitHub) -> None:
    """Take all tokens away, as if the person had done so, or had no account any more."""
    fake.tokens.clear()


def change_account(fake: FakeGitHub) -> None:
    """Let the token be of another account."""
    fake.account.id = 1


def leave_organization(fake: FakeGitHub) -> None:
    """Let the person leave the organisation."""
    fake.account.organizations = ()


def break_api(fake: FakeGitHub) -> None:
    """Let the API fail."""
    fake.server.answers[f"{API}/user"] = CannedResponse(status=502)


def limit_rate(fake: FakeGitHub) -> None:
    """Let the API answer no more for a while."""
    answer = as_json({"message": "API rate limit exceeded"}, 403)
    fake.server.answers[f"{API}/user/teams"] = answer


@pytest.mark.parametrize(
    ("break_it", "kind", "reason"),
    [
        (close_account, Forbidden, "provider_bad_credentials"),
        (change_account, Forbidden, "renewed_sub"),
        (leave_organization, Forbidden, "claim_organizations"),
        (break_api, Unavailable, "provider_silent"),
        (limit_rate, Unavailable, "provider_silent"),
    ],
)
def test_a_renewal_tells_a_no_from_no_answer(
    place: Place, break_it: Callable[[FakeGitHub], object], kind: type[WheelyardError], reason: str
) -> None:
    """A renewal is refused without token, account or organisation; other faults are outages."""
    place.change(require={"organizations": ("acme",)})
    token = place.sign_in().refresh_token
    break_it(place.fake)
    with pytest.raises(WheelyardError) as refused:
        place.provider.renew(token, ID)
    assert (type(refused.value), rejection_reason(refused.value, "")) == (kind, reason)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"secret": "another"}, "it refuses the client (incorrect_client_credentials)"),
        ({"client_id": "another"}, "it refuses the client (other)"),
        ({"issuer": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_config_check_knows_whether_the_app_is_right(
    place: Place, changes: dict[str, str], why: str
) -> None:
    """`config check` learns of GitHub whether client id and secret are right."""
    place.change(**changes)
    assert why in place.provider.problem()
    assert bool(why) == bool(place.provider.problem())


def test_no_secret_is_in_what_could_be_logged(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither settings, a confirmation nor the log show the secret, a code or a token."""
    caplog.set_level("DEBUG")
    confirmation = place.sign_in()
    place.fake.server.answers[f"{API}/user"] = CannedResponse(status=500)
    place.refusal()
    place.change(secret="another")
    place.refusal()
    shown = f"{place.config}{confirmation}{caplog.text}"
    secrets = (SECRET, "another", confirmation.refresh_token, "code-", REQUEST.verifier)
    assert not [secret for secret in secrets if secret in shown]
    assert "github refuses this index (incorrect_client_credentials)" in caplog.text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (CannedResponse(status=502), "it answered 502"),
        (CannedResponse(b"<title>Log in</title>"), "its answer is not JSON"),
    ],
    ids=["failure", "page"],
)
def test_config_check_knows_whether_github_answers(
    place: Place, answer: CannedResponse, why: str
) -> None:
    """`config check` learns if something else than GitHub answers at its address."""
    place.fake.server.handlers.clear()
    place.fake.server.answers["/login/oauth/access_token"] = answer

    assert place.provider.problem() == why
