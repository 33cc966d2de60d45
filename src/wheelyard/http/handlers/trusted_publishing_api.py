"""
Trusted publishing over HTTP: what a job's client asks, step by step.

    GET  /_/oidc/audience      what to have a statement made for
    POST /_/oidc/mint-token    {"token": STATEMENT}: a token that lives for minutes
    POST /_/oidc/burn-token    {"token": TOKEN}: ends it before that
    GET  /.well-known/pytp     where those are (PEP 807, a draft)

Nobody is asked who they are: the statement is the proof. Refusals are in two forms at once, that
which clients read (`errors`, which some read unseen) and RFC 9457. No statement and no token is
ever logged, nor is the text of a refusal, which repeats claims.

What is no statement, or not genuine, is counted apart, so that garbage from one address does not
keep the jobs out that share it.
"""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import decode, encode

from wheelyard.authentication.authenticator import rejection_reason
from wheelyard.authentication.replay_protection import INVALID_REUSE
from wheelyard.authentication.trusted_publishing import INVALID_PUBLISHER
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit, address_key
from wheelyard.errors import Invalid, TooLarge, Unavailable, WheelyardError
from wheelyard.http.concurrency_limit import ConcurrencyLimit
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import REASON_PHRASES, retry_after, status_of
from wheelyard.http.protocol.json_body import json_response, read_body
from wheelyard.http.protocol.messages import NO_STORE, Header, Request, Response, make_response
from wheelyard.http.security.csrf import public_origin
from wheelyard.model.token import parse_token
from wheelyard.settings.sections import Settings

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing

BODY_LIMIT: Final = 32 * 1024
"""Bytes of a request for a token."""
TOO_LONG: Final = f"A request for a token has at most {BODY_LIMIT} bytes."
RATE: Final = 60
"""Tokens a minute that an address may ask for, as many that it may give back, and as much else."""
FLOOD: Final = 10
"""How many times as many it may invent: a signature is cheap to look at."""
AT_ONCE: Final = 8
"""Such requests under way at a time, so that a slow issuer keeps nobody from uploading."""
GENUINE: Final = frozenset({INVALID_PUBLISHER, INVALID_REUSE})
"""The codes with which a statement is refused although its issuer has made it."""
PROBLEM: Final = b"application/problem+json"
FAILED: Final = "Token request failed"
FEATURES: Final = ("multi-use-token",)
"""What PEP 807 calls a token that uploads more than one file."""

_STATEMENT: Final = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+")
_DISCOVERY_TYPES: Final = frozenset(
    {"", "*/*", "application/*", "application/json", "application/vnd.pypi.pytp.v1+json"}
)

logger = logging.getLogger("wheelyard")


class _Asked(Struct, frozen=True):
    """What is sent to mint and to burn; whatever else is in it is for other indexes."""

    token: str


class TrustedPublishingApi:
    """
    The steps of trusted publishing, and how often an address may take them.

    `takes_uploads` tells whether files are uploaded to a raw path.
    """

    def __init__(self, context: ServerContext, takes_uploads: Callable[[bytes], bool]) -> None:
        self._index = context.index
        self._pools = context.pools
        self._takes_uploads = takes_uploads
        self._slots = ConcurrencyLimit(AT_ONCE, "requests for tokens")
        self._throttle = LoginRateLimit(RATE, context.index.runtime.monotonic, patience=0.0)
        self._floods = LoginRateLimit(RATE * FLOOD, context.index.runtime.monotonic)
        """For whatever has the form of what a step takes, before it is looked at."""

    async def discovery(self, request: Request) -> Response:
        """Tell where the steps are."""
        if self._index.authenticator.trusted_publishing is None:
            return _problem(404)
        accepted = request.headers.get(b"accept", b"").decode("latin-1").lower().split(",")
        if not any(each.partition(";")[0].strip() in _DISCOVERY_TYPES for each in accepted):
            return _problem(406)
        origin = _origin(self._index.settings)
        if not origin or not self._is_upload_url(request.query):
            return _problem(404)
        body = {
            "audience-endpoint": f"{origin}/_/oidc/audience",
            "token-mint-endpoint": f"{origin}/_/oidc/mint-token",
            "features": FEATURES,
            "default-features": FEATURES,
        }
        return json_response(200, body)

    def _is_upload_url(self, query: bytes) -> bool:
        """Return whether `discover` in a query is the path of an upload URL."""
        with suppress(WheelyardError, LookupError, ValueError):
            asked = parse_qs(query.decode("ascii"), errors="strict", max_num_fields=8)
            (path,) = asked["discover"]
            return path.startswith("/") and self._takes_uploads(path.encode())
        return False

    async def audience(self, _request: Request) -> Response:
        """Tell what to have a statement made for."""
        publishing = self._index.authenticator.trusted_publishing
        if publishing is None:
            return _not_enabled()
        return json_response(200, {"audience": publishing.audiences[0]})

    async def handle(self, request: Request, step: str) -> Response:
        """Take one step, `mint` or `burn`, unless the address has taken too many."""
        publishing = self._index.authenticator.trusted_publishing
        if publishing is None:
            return _not_enabled()
        garbage = address_key(request.address, f"{step}-garbage")
        try:
            sent = await _token_in(request)
        except (Invalid, TooLarge) as fault:
            return self._one_too_many(garbage) or _told(step, fault)
        has_form = parse_token(sent) if step == "burn" else _STATEMENT.fullmatch(sent)
        keys = (address_key(request.address, step),) if has_form else ()
        wait = (
            self._floods.count_attempt(keys[0]) if keys else self._throttle.count_attempt(garbage)
        )
        wait = wait or self._throttle.seconds_until(keys)
        if wait:  # without a slot, which others may need
            return _too_many(wait)
        try:
            async with self._slots.acquire(request.client_key):
                take = partial(self._taken, step, sent, publishing, keys)
                return await self._pools.run_write(take)
        except WheelyardError as fault:
            refused = None
            if keys and fault.code not in GENUINE:  # nobody's inventions keep a job waiting
                refused = self._one_too_many(garbage)
            return refused or _told(step, fault)

    def _taken(
        self, step: str, sent: str, publishing: "TrustedPublishing", keys: tuple[str, ...]
    ) -> Response:
        """Take a step, in a thread; whatever is not genuine uses up none of its address."""
        try:
            wait = self._throttle.reserve(keys)
        except Unavailable:  # all that is left is reserved
            wait = 1.0
        if wait:
            return _too_many(wait)
        is_genuine = True
        try:
            if step == "burn":
                publishing.revoke(sent)
                return json_response(202, {})
            minted = publishing.mint(sent)
            body = {"success": True, "token": minted.token.text, "expires": minted.expires}
            return json_response(200, body)
        except WheelyardError as fault:
            is_genuine = fault.code in GENUINE
            raise
        finally:
            self._throttle.release(keys, has_failed=is_genuine)

    def _one_too_many(self, key: str) -> Response | None:
        """Count a request; return the refusal if there were too many of its kind, else None."""
        wait = self._throttle.count_attempt(key)
        return _too_many(wait) if wait else None


def _too_many(wait: float) -> Response:
    seconds = ceil(wait)
    message = f"Too many requests from this address. Try again in {seconds} seconds."
    return _refused(429, "rate-limited", message, retry_after(seconds))


async def _token_in(request: Request) -> str:
    """Return the token of a body, which is JSON whatever its type says."""
    body = await read_body(request.receive, BODY_LIMIT, TOO_LONG)
    try:
        return decode(body, type=_Asked).token
    except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid('Send a JSON object: {"token": "..."}.') from error


def _origin(settings: Settings) -> str:
    """Return scheme and host of this index: never from a request, which could name any."""
    hosts = settings.access.trusted_hosts
    return public_origin(settings.server) or (f"https://{hosts[0]}" if hosts else "")


def _told(step: str, fault: WheelyardError) -> Response:
    """Return the reply to a fault, and note it: what was wrong with what was sent is a 422."""
    why = rejection_reason(fault, otherwise=fault.code)
    logger.info("a step of trusted publishing was refused: %s, %s", step, why)
    if isinstance(fault, Invalid):
        # a code of words with dashes is one that clients know
        code = fault.code if "-" in fault.code else "invalid-payload"
        return _refused(422, code, fault.message)
    headers = (retry_after(),) if isinstance(fault, Unavailable) else ()
    return _refused(status_of(fault), fault.code, fault.message, *headers)


def _refused(status: int, code: str, description: str, *headers: Header) -> Response:
    problem = {"type": "about:blank", "title": FAILED, "status": status, "detail": description}
    errors = [{"code": code, "description": description}]
    return json_response(status, {**problem, "message": FAILED, "errors": errors}, *headers)


def _not_enabled() -> Response:
    return _refused(404, "not-enabled", "Trusted publishing is not enabled here.")


def _problem(status: int) -> Response:
    return make_response(
        status, PROBLEM, encode({"title": REASON_PHRASES[status], "status": status}), NO_STORE
    )
