"""
Google's access tokens, which have the rights that their account has on a bucket.

An access token is sent to Google, which says what the account may do to the bucket, and not whose
account it is. So the principal of the token is a digest, and grants cannot name it.
"""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import Struct

from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.authentication.verifiers.verifier import (
    CredentialRejected,
    VerificationCache,
    invalid_access_token,
    verification_unavailable,
)
from wheelyard.concurrency.runtime import Clock
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import JsonClient
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Credential,
    Identity,
    Scope,
)
from wheelyard.model.index_name import MAIN

TIMEOUT_SECONDS: Final = 3.0
"""The timeout of all requests to Google for one access token together."""
MAX_CACHE_SECONDS: Final = 300.0
"""The longest time that the rights of an access token are cached."""
REJECTION_CACHE_SECONDS: Final = 10.0
"""How long a rejection is cached: an administrator may be granting the permission now."""
REJECTED: Final = "gat_rejected"
"""The reason for the log if Google rejects an access token."""
PERMISSIONS: Final[Mapping[str, Action]] = {
    "storage.objects.get": Action.READ,
    "storage.objects.create": Action.UPLOAD,
    "storage.objects.delete": Action.MANAGE,
}
"""The action that each permission on the bucket gives."""
ALL_ACTIONS: Final = Action.READ | Action.UPLOAD | Action.MANAGE
WRITE_SCOPES: Final = frozenset(
    f"https://www.googleapis.com/auth/{scope}"
    for scope in ("cloud-platform", "devstorage.full_control", "devstorage.read_write")
)
"""OAuth scopes that allow writing. With any other scope a token may only read."""

_TOKEN_PATTERN = re.compile(r"[!-~]{20,4096}")

logger = logging.getLogger("wheelyard")


class AuthorizationBucket(Struct, frozen=True):
    """The Cloud Storage bucket whose IAM policy gives Google access tokens their rights here."""

    bucket: str
    read_only: bool = False
    """
    Whether only READ is granted, as for a bucket that is a store: an account that may write there
    could bypass the index.
    """
    google: GoogleEndpoints = GOOGLE

    @property
    def permissions_url(self) -> str:
        """The URL at which Google says which permissions on the bucket a Bearer token has."""
        possible_actions = Action.READ if self.read_only else ALL_ACTIONS
        query: list[tuple[str, str]] = []
        for permission, action in PERMISSIONS.items():
            if action & possible_actions:
                query.append(("permissions", permission))
        bucket_url = f"{self.google.storage}/storage/v1/b/{quote(self.bucket, '')}"
        return f"{bucket_url}/iam/testPermissions?{urlencode(query)}"


class AccessTokenVerdict(Struct, frozen=True):
    """The answer of Google about an access token."""

    identity: Identity | None
    """The identity of the token, or None if Google rejects the token."""
    seconds: float
    """How long the verdict may be cached."""

    def require_identity(self) -> Identity:
        """Return the identity, or raise Unauthenticated if Google rejects the token."""
        if self.identity is None:
            raise invalid_access_token() from CredentialRejected(REJECTED)
        return self.identity


class AccessTokenVerifier(Struct, frozen=True):
    """
    Verifies Google access tokens.

    Threads may share it.
    """

    resource: AuthorizationBucket
    json_client: JsonClient
    monotonic: Clock
    cache: VerificationCache[AccessTokenVerdict]
    cache_seconds: float = MAX_CACHE_SECONDS
    """How long rights are cached, if that is less than `MAX_CACHE_SECONDS`."""
    indexes: tuple[str, ...] = (MAIN,)
    """The indexes that the rights are about, as in a `Scope`."""

    def cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of an access token if the cache has it, or None otherwise.

        Raises Unauthenticated if the cache says that Google has rejected the token.
        """
        verdict = self.cache.get(self._cache_key(credential.secret))
        if verdict is None:
            return None
        return verdict.require_identity()

    def verify(self, credential: Credential) -> Identity:
        """
        Return the identity of an access token, from the cache or from Google.

        The identity has a scope for every project, or none if the token has no permissions. Raises
        Unauthenticated, with a fixed message, if Google rejects the token, and Unavailable if
        Google does not answer.
        """
        token = credential.secret
        # checked first, as the token becomes a part of a header
        if not _TOKEN_PATTERN.fullmatch(token):
            raise invalid_access_token() from CredentialRejected("auth_malformed")
        identity = self.cached_identity(credential)
        if identity is not None:
            return identity
        key = self._cache_key(token)
        verdict = self._ask_google(key, token)
        self.cache.put(key, verdict, verdict.seconds)
        return verdict.require_identity()

    def _cache_key(self, token: str) -> bytes:
        """Return the cache key of an access token, which differs for each bucket."""
        return self.cache.key("gat", self.resource.bucket, "", token)

    def _ask_google(self, key: bytes, token: str) -> AccessTokenVerdict:
        """
        Return the verdict of Google about an access token with a cache key.

        Raises Unavailable if Google does not answer.
        """
        # one deadline for both requests, as a client waits for both
        deadline = self.monotonic() + TIMEOUT_SECONDS
        try:
            actions = self._permitted_actions(token)
            if actions is None:
                return AccessTokenVerdict(None, REJECTION_CACHE_SECONDS)
            seconds = min(self.cache_seconds, MAX_CACHE_SECONDS)
            # the permissions are those of the account: the token itself may be for reading only
            if actions & ~Action.READ:
                timeout = deadline - self.monotonic()
                oauth_scopes, remaining_seconds = self._scopes_and_lifetime(token, timeout)
                seconds = min(seconds, remaining_seconds)
                if oauth_scopes.isdisjoint(WRITE_SCOPES):
                    actions &= Action.READ
        except FetchError as fault:
            logger.warning("Google does not say what an access token may do: %s", fault.why)
            raise verification_unavailable("Google") from None

        # an administrator may be granting the permission just now
        if not actions:
            seconds = REJECTION_CACHE_SECONDS
        identity = _identity_of_access_token(key, actions, self.indexes)
        return AccessTokenVerdict(identity, seconds)

    def _permitted_actions(self, token: str) -> Action | None:
        """
        Return the actions, perhaps none, that the account of a token may do to the bucket.

        None if Google rejects the token. Raises FetchError if Google does not answer.
        """
        response = self.json_client.fetch(
            self.resource.permissions_url, timeout=TIMEOUT_SECONDS, authorization=f"Bearer {token}"
        )
        if response.status == HTTPStatus.UNAUTHORIZED:
            return None

        # the token is valid, and its account may do nothing to the bucket
        if response.status == HTTPStatus.FORBIDDEN:
            return Action(0)
        if response.status == HTTPStatus.NOT_FOUND:
            logger.error("google.access_token.resource: there is no such bucket; look at its name")

        # Google leaves the field out if there is no permission
        held_permissions = response.document().get("permissions", [])
        if not isinstance(held_permissions, list):
            raise FetchError("its answer is not a list of permissions")
        actions = Action(0)
        for permission, action in PERMISSIONS.items():
            if permission in held_permissions:
                actions |= action
        if self.resource.read_only:
            actions &= Action.READ
        return actions

    def _scopes_and_lifetime(self, token: str, timeout: float) -> tuple[frozenset[str], float]:
        """
        Return the OAuth scopes of a token, and the seconds until the token expires.

        A token that Google rejects has no scopes, and `MAX_CACHE_SECONDS`. Raises FetchError if
        Google does not answer.
        """
        # in a form, as URLs end up in logs
        form = {"access_token": token}
        response = self.json_client.fetch(
            self.resource.google.tokeninfo, timeout=timeout, form=form
        )
        if response.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}:
            return frozenset(), MAX_CACHE_SECONDS
        info = response.document()
        expires_in = str(info.get("expires_in", ""))
        seconds = 0.0
        if re.fullmatch(r"[0-9]{1,9}", expires_in):
            seconds = float(expires_in)
        oauth_scopes = str(info.get("scope", "")).split()
        return frozenset(oauth_scopes), seconds


def _identity_of_access_token(key: bytes, actions: Action, indexes: tuple[str, ...]) -> Identity:
    """Return the identity of an access token that may do these actions in these indexes."""
    principals = {ANONYMOUS}
    # Google gives tokens to anybody: a token that may not read the bucket counts as anonymous
    if actions & Action.READ:
        principals.add(ALL_AUTHENTICATED)
    scopes = list[Scope]()
    if actions:
        scopes.append(Scope(actions, (EVERY_PROJECT,), indexes))
    return Identity(f"google:{key.hex()[:8]}", frozenset(principals), tuple(scopes))
