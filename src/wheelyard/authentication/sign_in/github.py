"""
Sign-in with GitHub: an OAuth app, and an API that says who has signed in.

GitHub gives people no ID token. So the access token takes the place of a refresh token in the
record of the person, and a renewal asks the API again with this token. The token may read the
person, the person's teams and organisations, and nothing else. It works until the person or an
owner of the app revokes it.

Person, teams and organisations become claims, to which the rules of `claims.py` apply as for any
provider. `sub` is the number of the account: a login can be changed, and then be taken by others.
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
"""The claim with the organisations: `acme`. The API is asked for them if `require` names them."""
PER_PAGE: Final = 50
"""Members of a list in one answer, so that the answer is below the limit of `JsonClient`."""
MAX_PAGES: Final = MAX_GROUPS // PER_PAGE + 1
"""The most pages of a list: enough for `claims.py` to refuse a person with too many teams."""


class GitHubProvider:
    """
    github.com, or a GitHub Enterprise Server. The constructor sends no request.

    Threads may share it. The scopes and the claims for name and groups in `config` are replaced by
    those of GitHub.
    """

    def __init__(self, config: ProviderConfig, client: JsonClient) -> None:
        config = replace(config, scopes=SCOPES, name_claim=LOGIN, groups_claim=TEAMS)
        self.config = config
        self._requests = ProviderRequests(config, client)
        self._oauth = f"{config.issuer.rstrip('/')}/login/oauth"
        self._api = api_of(config.issuer)

    def problem(self) -> str:
        """
        Return why GitHub does not answer or refuses the client, or an empty text.

        GitHub gets a code that it cannot have given. Only if it knows the client, it answers that
        the code is wrong.
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
        """Return the URL to which a browser has to go for a sign-in."""
        return self._requests.authorization_url(f"{self._oauth}/authorize", request)

    def redeem(self, answer: AuthorizationAnswer, request: AuthorizationRequest) -> Confirmation:
        """
        Exchange the code of an answer, and return the confirmation of the person.

        Raises Forbidden (code `sign_in_refused`) if GitHub refuses or the person may not sign in,
        and Unavailable if GitHub does not answer.
        """
        # GitHub's issuer in the sense of RFC 9207, which older Enterprise Servers do not send
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
        Return a new confirmation of a person. The refresh token is the access token of the person.

        Raises Forbidden (code `sign_in_refused`) if GitHub does not accept the token any more, or
        if the token is about another person, and Unavailable if GitHub does not answer.
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
        Return the claims about the person whose access token it is, by answers of the API.

        Raises Forbidden if the token does not work any more, and Unavailable if the API does not
        answer, or if its answer cannot be used.
        """
        try:
            user = _require_object(self._fetch_json("user", access_token))
            claims: dict[str, object] = {
                "sub": _account_number(user),
                LOGIN: _name_in(user, "login"),
            }
            teams = self._list_members("user/teams", access_token)
            claims[TEAMS] = [_team_group(team) for team in teams]
            # organisations cost further requests, so only settings that need them have them
            if ORGANIZATIONS in needed_claims(self.config):
                organizations = self._list_members("user/orgs", access_token)
                claims[ORGANIZATIONS] = [
                    _name_in(organization, "login") for organization in organizations
                ]
        except FetchError as fault:
            self._requests.give_up(fault)
        return claims

    def _list_members(self, path: str, access_token: str) -> Iterator[Mapping[str, object]]:
        """
        Yield the members of a list, which the API sends in pages.

        Raises Forbidden if the API does not accept the token, and FetchError for any other error.
        """
        for page in range(1, MAX_PAGES + 1):
            # up to an empty page: a short page may have hidden members, and be followed by others
            members = self._fetch_json(f"{path}?per_page={PER_PAGE}&page={page}", access_token)
            if not isinstance(members, list):
                raise FetchError("its answer is not a JSON array")
            if not members:
                return
            yield from map(_require_object, members)

    def _fetch_json(self, path: str, access_token: str) -> object:
        """
        Return the JSON value of an answer of the API.

        Raises Forbidden if the API does not accept the token, and FetchError for any other error.
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


def _require_object(value: object) -> Mapping[str, object]:
    """Return a value that is a JSON object, or raise FetchError for another value."""
    if not isinstance(value, dict):
        raise FetchError("its answer lacks an object")
    return value


def _team_group(team: Mapping[str, object]) -> str:
    """Return the group name of a team: `acme/platform`, as organisations may share team names."""
    organization = _name_in(_require_object(team.get("organization")), "login")
    slug = _name_in(team, "slug")
    return f"{organization}/{slug}"


def _name_in(document: Mapping[str, object], name: str) -> str:
    """Return the field `name` of an object in lower case, or raise FetchError if it is no name."""
    value = document.get(name)
    # a name of an organisation with a slash would look like a team of another organisation
    if not isinstance(value, str) or not value or "/" in value:
        raise FetchError(f"its answer has no {name}")
    return value.lower()


def _account_number(user: Mapping[str, object]) -> str:
    """Return the number of an account as a text, or raise FetchError if it has no number."""
    number = user.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise FetchError("its answer has no id of the account")
    return str(number)
