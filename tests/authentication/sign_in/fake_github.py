"""
A stand-in for GitHub on a real port: its OAuth pages and the part of its REST API that is asked.

Its answers have the fields that GitHub documents for them, with what is of no use here left out.
It refuses what GitHub refuses: requests without a User-Agent, codes that come twice or with another
verifier, and tokens that were taken away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    ReceivedRequest,
    as_json,
    b64,
    running_issuer,
)
from tests.in_process_network import NetworkOrPorts

CLIENT: Final = "Ov23liAbCdEf"
SECRET: Final = "0123456789abcdef-of-the-app"
API: Final = "/api/v3"


@dataclass
class Account:
    """What GitHub knows of somebody."""

    id: int = 583231
    login: str = "Ana-Acme"
    organizations: tuple[str, ...] = ("Acme",)
    teams: tuple[str, ...] = ("Acme/platform", "Acme/docs")

    def user(self) -> dict[str, object]:
        """Return the answer of `/user`."""
        return {
            "login": self.login,
            "id": self.id,
            "node_id": "MDQ6VXNlcjU4MzIzMQ==",
            "type": "User",
            "site_admin": False,
            "name": "Ana",
            "company": None,
            "email": "ana@acme.dev",
            "created_at": "2011-01-25T18:44:36Z",
            "updated_at": "2026-08-17T12:37:15Z",
        }

    def listed_teams(self) -> list[object]:
        """Return all members of the answers of `/user/teams`."""
        return [
            {
                "id": 1 + number,
                "name": slug.title(),
                "slug": slug,
                "description": "A great team.",
                "privacy": "closed",
                "permission": "pull",
                "parent": None,
                "organization": _organization(organization),
            }
            for number, (organization, _, slug) in enumerate(
                team.partition("/") for team in self.teams
            )
        ]

    def listed_organizations(self) -> list[object]:
        """Return all members of the answers of `/user/orgs`."""
        return [_organization(login) for login in self.organizations]


def _organization(login: str) -> dict[str, object]:
    return {"login": login, "id": 9919, "description": "", "type": "Organization"}


@dataclass
class FakeGitHub:
    """The stand-in, at which one person has an account."""

    server: FakeIssuer
    account: Account = field(default_factory=Account)
    error: str = ""
    """The error with which it refuses every code."""
    hidden: int = 0
    """How many members each page of a list lacks, as GitHub hides some after it has counted."""
    tokens: set[str] = field(default_factory=set)
    """The access tokens that work."""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.server.handlers |= {
            "/login/oauth/access_token": self._answer_token,
            f"{API}/user": self._answer_user,
            f"{API}/user/teams": self._answer_teams,
            f"{API}/user/orgs": self._answer_organizations,
        }

    @property
    def issuer(self) -> str:
        """Its address."""
        return self.server.url

    def authorize(self, url: str) -> dict[str, str]:
        """Sign the person in, whom a browser has brought to `url`; return the parameters back."""
        assert url.startswith(f"{self.issuer}/login/oauth/authorize?")
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert (asked["client_id"], asked["scope"]) == (CLIENT, "read:user read:org")
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{next(self._numbers)}"
        self._codes[code] = asked
        iss = f"{self.issuer}/login/oauth"
        return {"code": code, "state": asked["state"], "iss": iss}

    def asked(self, path: str) -> list[str]:
        """Return the queries of the requests for a path of the API."""
        parts = (urlsplit(request.path) for request in self.server.seen)
        return [part.query for part in parts if part.path == f"{API}/{path}"]

    def _answer_token(self, request: ReceivedRequest) -> CannedResponse:
        # GitHub answers its errors with 200
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        if form["client_id"] != CLIENT:
            return as_json({"error": "Not Found"}, 404)
        if form["client_secret"] != SECRET:
            return as_json(
                {
                    "error": "incorrect_client_credentials",
                    "error_description": "The client_id and/or client_secret are incorrect.",
                }
            )
        if self.error:
            return as_json({"error": self.error, "error_description": "No, Ana-Acme."})
        asked = self._codes.pop(form["code"], {})
        challenge = b64(sha256(form.get("code_verifier", "").encode()).digest())
        if asked.get("code_challenge") != challenge:
            return as_json(
                {
                    "error": "bad_verification_code",
                    "error_description": "The code passed is incorrect or expired.",
                }
            )
        token = f"gho_{next(self._numbers)}"
        self.tokens.add(token)
        return as_json(
            {"access_token": token, "scope": "read:org,read:user", "token_type": "bearer"}
        )

    def _answer_user(self, request: ReceivedRequest) -> CannedResponse:
        return self._refusal(request) or as_json(self.account.user())

    def _answer_teams(self, request: ReceivedRequest) -> CannedResponse:
        return self._refusal(request) or self._page(request, self.account.listed_teams())

    def _answer_organizations(self, request: ReceivedRequest) -> CannedResponse:
        return self._refusal(request) or self._page(request, self.account.listed_organizations())

    def _page(self, request: ReceivedRequest, members: list[object]) -> CannedResponse:
        query = parse_qs(urlsplit(request.path).query)
        size, page = int(query["per_page"][0]), int(query["page"][0])
        assert size <= 100
        shown = members[(page - 1) * size : page * size]
        return as_json(shown[self.hidden :])

    def _refusal(self, request: ReceivedRequest) -> CannedResponse | None:
        if not request.agent:
            return as_json({"message": "Request forbidden by administrative rules."}, 403)
        if (request.authorization or "").removeprefix("Bearer ") not in self.tokens:
            return as_json({"message": "Bad credentials", "status": "401"}, 401)
        return None


@contextmanager
def running_github(network: NetworkOrPorts = None) -> Iterator[FakeGitHub]:
    """Run a stand-in until the block ends."""
    with running_issuer(network) as server:
        yield FakeGitHub(server)
