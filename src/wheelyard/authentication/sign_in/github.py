"""
GitHub: an OAuth app, and an API that says who has signed in, as people have no ID token there.

The access token is asked with instead: it takes the place of a refresh token in the record of the
person, and a renewal asks the API again. It may read the person, their teams and organisations, and
nothing else. GitHub lets it live until the person or an owner of the app takes it away.

Person, teams and organisations become claims, which the rules of `claims.py` then read as those of
any provider. `sub` is the number of the account: a login can be changed, and be taken by others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from wheelyard.authentication.sign_in.claims import MAX_GROUPS, confirmation_of, needed_claims
from wheelyard.authentication.sign_in.provider import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Confirmation,
    ProviderConfig,
    untrusted_answer,
)
from wheelyard.authentication.sign_in.provider_requests import (
    ProviderRequests,
    error_in,
    known_code,
    token_in,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import JsonClient

SCOPES: Final = ("read:user", "read:org")
LOGIN: Final = "login"
"""The claim with the login, in lower case, as GitHub compares it."""
TEAMS: Final = "teams"
"""The claim with the teams: `acme/platform`."""
ORGANIZATIONS: Final = "organizations"
"""The claim with the organisations: `acme`. They are asked for if `require` names them."""
PER_PAGE: Final = 50
"""Members of a list in one answer, which is below the limit of `JsonClient` then."""
MAX_PAGES: Final = MAX_GROUPS // PER_PAGE + 1
"""Enough for `claims.py` to refuse whoever has too many teams."""


class GitHubProvider:
    """
    github.com, or a GitHub Enterprise Server, which is asked only when it is needed.

    Threads may share it. Scopes, and the claims for name and groups, are its own,
    whatever `config` says of them.
    """

    def __init__(self, config: ProviderConfig, client: JsonClient) -> None:
        config = replace(config, scopes=SCOPES, name_claim=LOGIN, groups_claim=TEAMS)
        self.config = config
        self._requests = ProviderRequests(config, client)
        self._oauth = f"{config.issuer.rstrip('/')}/login/oauth"
        self._api = api_of(config.issuer)

    def problem(self) -> str:
        """
        Return why the provider cannot be used as the settings say, or an empty text.

        GitHub is sent a code that it cannot have given. It says so if it knows the client.
        """
        form = {"code": "check", "redirect_uri": self.config.redirect_uri, **self._client_form()}
        try:
            response = self._requests.fetch(f"{self._oauth}/access_token", form=form)
            error = error_in(response)
            if not error:
                response.document()
        except FetchError as fault:
            return fault.why
        if error == "bad_verification_code":
            return ""
        code = known_code(error)
        return f"it refuses the client ({code}): compare client_id, the secret and the callback URL"

    def authorization_url(self, request: AuthorizationRequest) -> str:
        """Return where a browser has to go to sign in."""
        return self._requests.authorization_url(f"{self._oauth}/authorize", request)

    def redeem(self, answer: AuthorizationAnswer, request: AuthorizationRequest) -> Confirmation:
        """
        Return who has signed in, by the answer that belongs to a request.

        Raises Forbidden (code `sign_in_refused`) if that is nobody who may, and Unavailable if
        GitHub does not answer.
        """
        # GitHub's issuer in the sense of RFC 9207; older Enterprise Servers do not send it
        if answer.issuer not in {None, self._oauth}:
            raise untrusted_answer(self.config.title) from CredentialRejected("answer_iss")
        form = self._requests.exchange_form(answer, request)
        url = f"{self._oauth}/access_token"
        tokens = self._requests.ask(url, form={**form, **self._client_form()})
        access_token = token_in(tokens, "access_token")
        if not access_token:
            reason = CredentialRejected("access_token_missing")
            raise untrusted_answer(self.config.title) from reason
        return confirmation_of(self._claims(access_token), self.config, access_token)

    def renew(self, refresh_token: str, subject: str) -> Confirmation:
        """
        Return who the person is now, whose access token it is.

        Raises Forbidden (code `sign_in_refused`) if GitHub does not take it any more, or it is
        about somebody else, and Unavailable if GitHub does not answer.
        """
        claims = self._claims(refresh_token)
        if claims["sub"] != subject:
            raise untrusted_answer(self.config.title) from CredentialRejected("renewed_sub")
        return confirmation_of(claims, self.config)

    def _client_form(self) -> dict[str, str]:
        """Return the fields of a form with which the client proves itself."""
        return {"client_id": self.config.client_id, "client_secret": self.config.secret}

    def _claims(self, access_token: str) -> dict[str, object]:
        """
        Return what the API says of the person whose access token it is.

        Raises Forbidden if the token does not work any more, and Unavailable if the API does not
        answer, or with something else than it should.
        """
        needed = needed_claims(self.config)
        try:
            user = _object(self._answer("user", access_token))
            claims: dict[str, object] = {
                "sub": _number_in(user),
                LOGIN: _text_in(user, "login"),
                TEAMS: [_team(team) for team in self._listed("user/teams", access_token)],
            }
            # a request for each page more, so only where the settings ask for it
            if ORGANIZATIONS in needed:
                listed = self._listed("user/orgs", access_token)
                claims[ORGANIZATIONS] = [_text_in(organization, "login") for organization in listed]
        except FetchError as fault:
            self._requests.give_up(fault)
        return claims

    def _listed(self, path: str, access_token: str) -> Iterator[Mapping[str, object]]:
        """
        Yield the members of a list, which comes in pages.

        Raises Forbidden if the API does not take the token, and FetchError for any other error.
        """
        for page in range(1, MAX_PAGES + 1):
            # until an empty one: a page may be short if something in it is hidden
            members = self._answer(f"{path}?per_page={PER_PAGE}&page={page}", access_token)
            if not isinstance(members, list):
                raise FetchError("its answer is not a JSON array")
            if not members:
                return
            yield from map(_object, members)

    def _answer(self, path: str, access_token: str) -> object:
        """
        Return the JSON that the API answers.

        Raises Forbidden if it does not take the token, and FetchError for any other error.
        """
        response = self._requests.fetch(f"{self._api}/{path}", f"Bearer {access_token}")
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._requests.refuse("bad_credentials")
        return response.value()


def api_of(issuer: str) -> str:
    """Return the URL of the REST API of github.com, of a tenant of ghe.com, or of a server."""
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    if host == "github.com" or host.endswith(".ghe.com"):
        return f"https://api.{host}"
    return f"{issuer.rstrip('/')}/api/v3"


def _object(value: object) -> Mapping[str, object]:
    """Return a JSON object, or raise FetchError if a value is none."""
    if not isinstance(value, dict):
        raise FetchError("its answer lacks an object")
    return value


def _team(team: Mapping[str, object]) -> str:
    """Return the group of a team: two organisations may have teams of one name."""
    organization = _text_in(_object(team.get("organization")), "login")
    slug = _text_in(team, "slug")
    return f"{organization}/{slug}"


def _text_in(document: Mapping[str, object], name: str) -> str:
    """Return a name in lower case, or raise FetchError without one."""
    value = document.get(name)
    # with a slash, an organisation could be taken for a team of another one
    if not isinstance(value, str) or not value or "/" in value:
        raise FetchError(f"its answer has no {name}")
    return value.lower()


def _number_in(user: Mapping[str, object]) -> str:
    """Return the number of an account as a text, or raise FetchError without one."""
    number = user.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise FetchError("its answer has no id of the account")
    return str(number)
