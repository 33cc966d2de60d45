"""
Google's access tokens: what their bearer may do, by Google's answer to the bearer's own question.

The token is not asked whose it is: one that was made for another application tells the same
e-mail. It is asked what it may do to a bucket, which says no more than Google would allow anyway.
Because a token may be narrower than its account, one that could write is asked for its scopes too.
It goes to the two hosts that are named here, in a header or a body, and is kept nowhere.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.authentication.verifiers.json_client import JsonClient
from wheelyard.authentication.verifiers.verifier import (
    CredentialRejected,
    VerificationCache,
    invalid_access_token,
    verification_unavailable,
)
from wheelyard.http_client.address_policy import FetchError
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Identity,
    Scope,
)

TIMEOUT_SECONDS: Final = 3.0
"""Seconds for both questions together."""
MAX_CACHE_SECONDS: Final = 300.0
"""Seconds that rights are believed, at most."""
REJECTION_CACHE_SECONDS: Final = 10.0
"""Seconds that nothing at all is believed: somebody may just be granting it."""
REJECTED: Final = "gat_rejected"

PERMISSIONS: Final[Mapping[str, Action]] = {
    "storage.objects.get": Action.READ,
    "storage.objects.create": Action.UPLOAD,
    "storage.objects.delete": Action.MANAGE,
}
ALL_ACTIONS: Final = Action.READ | Action.UPLOAD | Action.MANAGE
WRITE_SCOPES: Final = frozenset(
    f"https://www.googleapis.com/auth/{scope}"
    for scope in ("cloud-platform", "devstorage.full_control", "devstorage.read_write")
)
"""Scopes of tokens that may write; every other lets its bearer read at most."""

_TOKEN = re.compile(r"[!-~]{20,4096}")

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True)
class AuthorizationBucket:
    """The bucket whose IAM policy is the table of rights."""

    bucket: str
    read_only: bool = False
    """
    Whether no more than reading is honoured, as for the bucket of the packages: who may write there
    could write past the index.
    """
    google: GoogleEndpoints = GOOGLE

    @property
    def permissions_url(self) -> str:
        """The URL that tells which of the permissions the asking token has."""
        honoured = Action.READ if self.read_only else ALL_ACTIONS
        asked = [("permissions", name) for name, may in PERMISSIONS.items() if may & honoured]
        bucket = f"{self.google.storage}/storage/v1/b/{quote(self.bucket, '')}"
        return f"{bucket}/iam/testPermissions?{urlencode(asked)}"


class AccessTokenVerifier:
    """
    Recognises the bearers of access tokens; safe to share between threads.

    Rights are believed for `remembered` seconds, and for 300 at most.
    """

    def __init__(
        self,
        resource: AuthorizationBucket,
        fetcher: JsonClient,
        monotonic: Callable[[], float],
        verification_cache: VerificationCache[Identity | CredentialRejected],
        remembered: float = MAX_CACHE_SECONDS,
    ) -> None:
        self._resource = resource
        self._fetcher = fetcher
        self._monotonic = monotonic
        self._verification_cache = verification_cache
        self._remembered = min(remembered, MAX_CACHE_SECONDS)

    def cached_identity(self, token: str) -> Identity | None:
        """Return what a bearer may do if that needs no waiting, else None."""
        found = self._verification_cache.get(self._mark(token)) if _TOKEN.fullmatch(token) else None
        return found if isinstance(found, Identity) else None

    def verify(self, token: str) -> Identity:
        """
        Return what the bearer of a token may do, to every project; this may wait for Google.

        Raises:
            Unauthenticated: Google does not know the token; always the same text.
            Unavailable: Google does not answer, or the bucket is not there.
        """
        if not _TOKEN.fullmatch(token):
            raise invalid_access_token() from CredentialRejected("auth_malformed")
        mark = self._mark(token)
        found = self._verification_cache.get(mark)
        if found is None:
            found, seconds = self._asked(mark, token)
            self._verification_cache.put(mark, found, seconds)
        if isinstance(found, CredentialRejected):
            raise invalid_access_token() from found
        return found

    def _mark(self, token: str) -> bytes:
        return self._verification_cache.key("gat", self._resource.bucket, "", token)

    def _asked(self, mark: bytes, token: str) -> tuple[Identity | CredentialRejected, float]:
        """Return what Google says, and for how many seconds it may be believed."""
        end = self._monotonic() + TIMEOUT_SECONDS
        try:
            actions = self._permitted(token)
            if actions is None:
                return CredentialRejected(REJECTED), REJECTION_CACHE_SECONDS
            lifetime = self._remembered
            if actions & ~Action.READ:
                scopes, left = self._scopes(token, end - self._monotonic())
                lifetime = min(lifetime, left)
                actions &= ALL_ACTIONS if scopes & WRITE_SCOPES else Action.READ
        except FetchError as fault:
            logger.warning("Google does not say what an access token may do: %s", fault.why)
            raise verification_unavailable("Google") from None
        return _identity(mark, actions), lifetime if actions else REJECTION_CACHE_SECONDS

    def _permitted(self, token: str) -> Action | None:
        """Return what the token may do to the bucket; None if Google does not know the token."""
        response = self._fetcher.get(
            self._resource.permissions_url, timeout=TIMEOUT_SECONDS, bearer=token
        )
        if response.status == HTTPStatus.UNAUTHORIZED:
            return None
        if response.status == HTTPStatus.FORBIDDEN:
            return Action(0)
        if response.status == HTTPStatus.NOT_FOUND:
            logger.error("the bucket of [google.access_token] is not there; look at its name")
        named = response.document().get("permissions", [])
        if not isinstance(named, list):
            raise FetchError("its answer is not a list of permissions")
        actions = Action(0)
        for permission, action in PERMISSIONS.items():
            if permission in named:
                actions |= action
        return actions & (Action.READ if self._resource.read_only else ALL_ACTIONS)

    def _scopes(self, token: str, timeout: float) -> tuple[frozenset[str], float]:
        """Return the scopes of a token and the seconds it has left; none if nobody knows them."""
        form = {"access_token": token}
        response = self._fetcher.post_form(self._resource.google.tokeninfo, form, timeout=timeout)
        if response.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}:
            return frozenset(), MAX_CACHE_SECONDS
        found = response.document()
        left = str(found.get("expires_in", ""))
        seconds = float(left) if re.fullmatch(r"[0-9]{1,9}", left) else 0.0
        return frozenset(str(found.get("scope", "")).split()), seconds


def _identity(mark: bytes, actions: Action) -> Identity:
    named = {ANONYMOUS, ALL_AUTHENTICATED} if actions & Action.READ else {ANONYMOUS}
    scopes = (Scope(actions, (EVERY_PROJECT,)),) if actions else ()
    return Identity(f"google:{mark.hex()[:8]}", frozenset(named), scopes)
