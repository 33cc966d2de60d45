"""
Handlers of logins of programs through a browser (RFC 8628).

    POST /_/login/device   scope, project, days, name, host: a device code and what to show
    POST /_/login/token    grant_type, device_code: the token, once somebody has approved
    GET, POST /-/login/    the page on which a person approves or refuses

The endpoints take forms, and need no credential: asking grants nothing, and the device code is the
credential of what follows. An error has `error` and `error_description` of RFC 6749, too.
"""

from datetime import datetime
from math import ceil
from typing import Final

from msgspec.json import encode
from msgspec.structs import asdict

from wheelyard.api.access_operations import CallerRights
from wheelyard.authentication.api_tokens import DEFAULT_LIFETIME, invalid_credential
from wheelyard.authentication.device_logins import WantedToken
from wheelyard.authentication.token_owners import can_own_tokens
from wheelyard.authentication.verifiers.verifier import LoginRateLimit, address_key
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.errors import (
    INVALID_GRANT,
    RATE_LIMITED,
    SLOW_DOWN,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
    WheelyardError,
)
from wheelyard.http.error_responses import error_response_for, status_of, with_body
from wheelyard.http.forms import (
    CSRF_FIELD,
    FormFields,
    checking,
    form_token,
    read_form,
    refused_form,
    require_form_token,
    sign_in_url,
)
from wheelyard.http.messages import JSON, Request, Response, redirect
from wheelyard.http.request_authentication import CallerElsewhere, signed_in_at
from wheelyard.http.requests import json_response
from wheelyard.http.token_forms import new_token
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import parse_actions, parse_pattern
from wheelyard.model.device_login import LIFETIME_SECONDS
from wheelyard.model.person import counted_as
from wheelyard.rendering.web.account_pages import FormState, rights_of

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_SECONDS: Final = 5
"""How long a program waits between two questions."""
ASKED_PER_MINUTE: Final = 30
POLLS_PER_MINUTE: Final = 600
"""Limits of a network, which may be that of an office."""
CODES_PER_MINUTE: Final = 10
"""Limit of a person who types codes."""
MAX_WAITING: Final = 4096
"""Programs whose last question is remembered, by about 200 bytes each."""
ROOT: Final = "../../"
"""The home page, relative to the page of a login."""


class DeviceLoginApi:
    """Answers programs that ask for a login, within rate limits."""

    def __init__(self, web: WebPages) -> None:
        self._context = web.context
        monotonic = self._context.index.runtime.monotonic
        self._asked = LoginRateLimit(ASKED_PER_MINUTE, monotonic)
        self._polls = LoginRateLimit(POLLS_PER_MINUTE, monotonic)
        self._waiting = ExpiringCache[str, bool](monotonic, MAX_WAITING)
        """The device codes about which a program has asked just now."""

    def authorize(self, request: Request) -> Response:
        """Handle POST `/_/login/device`: begin a login."""
        try:
            fields = read_form(request)  # before anything is counted, as it may wait
            _require_try(self._asked, address_key(request.address, "ask"))
            return self._begin(request, fields)
        except WheelyardError as error:
            return _oauth_error(error)

    def token(self, request: Request) -> Response:
        """Handle POST `/_/login/token`: return the token of an approved login."""
        try:
            fields = read_form(request)
            _require_try(self._polls, address_key(request.address, "poll"))
            return self._redeem(fields)
        except WheelyardError as error:
            return _oauth_error(error)

    def _begin(self, request: Request, fields: FormFields) -> Response:
        index = self._context.index
        words = fields.text("scope").split() or ["upload"]
        projects = tuple(sorted({parse_pattern(text) for text in fields.all("project") or ("*",)}))
        days = fields.text("days")
        most = min(DEFAULT_LIFETIME.days, index.settings.tokens.max_days)
        wanted = WantedToken(
            name=fields.text("name") or "wheelyard login",
            actions=parse_actions(words),
            projects=projects,
            days=int(days) if days.isdecimal() and days.isascii() else 0 if days else most,
            index=fields.text("index"),
        )
        index.index_administration.require_known(wanted.index)
        begun = index.device_logins.ask(wanted, fields.text("host"), request.address)
        return json_response(
            200,
            {
                "device_code": begun.device_code,
                "user_code": begun.user_code,
                "verification_uri": f"{self._url(request)}/-/login/?request={begun.page_text}",
                "expires_in": LIFETIME_SECONDS,
                "interval": INTERVAL_SECONDS,
            },
        )

    def _redeem(self, fields: FormFields) -> Response:
        if fields.text("grant_type") != GRANT_TYPE:
            raise Invalid(
                f"Send the grant_type {GRANT_TYPE}, for which this endpoint is.",
                code="unsupported_grant_type",
            )
        index, code = self._context.index, fields.text("device_code")
        if not code:
            raise Invalid("Send the device_code of a login.", code=INVALID_GRANT)
        if self._waiting.get(code):
            message = "This is asked too often. Wait five seconds longer between two questions."
            raise Invalid(message, code=SLOW_DOWN)
        # a second less, as the network makes some questions come earlier
        self._waiting.put(code, value=True, seconds=INTERVAL_SECONDS - 1)
        token, record = index.device_logins.redeem(code)
        rights = CallerRights.of(record.scope)
        return json_response(
            200,
            {
                "access_token": token.text,
                "token_type": "Bearer",
                "expires_in": int(record.lifetime.total_seconds()),
                "scope": " ".join(rights.can),
                "projects": rights.projects,
                **({"index": rights.index} if rights.index else {}),
                "id": record.id,
                "name": record.name,
                "owner": record.owner,
                "expires": record.expires_at,
            },
        )

    def _url(self, request: Request) -> str:
        """Return the URL of this index for browsers, without a slash at its end."""
        server = self._context.index.settings.server
        if server.public_url:
            return server.public_url.rstrip("/")
        # as the program has found it
        host = request.joined_headers.get(b"host", b"").decode("latin-1")
        return f"{request.scope.get('scheme', 'http')}://{host}{server.path_prefix}"


class DeviceLoginPages:
    """The page on which a person approves or refuses a login."""

    def __init__(self, web: WebPages) -> None:
        self._web = web
        self._context = web.context
        self._codes = LoginRateLimit(CODES_PER_MINUTE, self._context.index.runtime.monotonic)

    def show(self, request: Request) -> Response:
        """Handle GET: what a program asks for, or what has become of it."""
        if request.caller.is_anonymous:
            raise invalid_credential()
        done = request.query_field("done")
        if done in ("approved", "refused"):
            viewer = self._web.viewer(request.caller)
            return self._web.show(viewer, 200, "login_done.html", ROOT, done=done)
        text = request.query_field("request") or ""
        if not text:
            raise NotFound(
                "There is nothing to approve. Open the URL that the program has printed, as a "
                "whole, or run it again in the terminal."
            )
        form = FormState(form_token(request, self._context))
        return self._page(request, text, form, 200)

    def decide(self, request: Request) -> Response:
        """Handle POST: approve or refuse."""
        if request.caller.is_anonymous:
            raise invalid_credential()
        fields = read_form(request)
        text = fields.text("request")
        try:
            require_form_token(request, self._context, fields.text(CSRF_FIELD))
            is_approved = fields.action("approve", "refuse") == "approve"
            if is_approved:
                self._approve(request, text, fields)
            else:
                logins = self._context.index.device_logins
                logins.refuse(request.caller, _signed_in_at(request), text)
        except NotFound:  # nothing is left to be shown
            raise
        except WheelyardError as error:
            form = refused_form(request, self._context, fields, error)
            try:
                return self._page(request, text, form, status_of(error))
            except NotFound:
                raise error from None
        query = b"done=approved" if is_approved else b"done=refused"
        return redirect(303, self._web.path(*request.segments, query=query))

    def _approve(self, request: Request, text: str, fields: FormFields) -> None:
        caller, logins = request.caller, self._context.index.device_logins
        asked = logins.open_request(text)
        new = new_token(fields, asked.days)
        allowed = WantedToken(
            name=new.name,
            actions=parse_actions(new.can or ()),
            projects=new.projects,
            days=new.days or 0,
            index=asked.index,
        )
        with checking("code"):
            if not fields.text("code"):
                raise Invalid("Type the code that the terminal shows.", code="missing_field")
            _require_try(self._codes, f"code:{counted_as(caller)}")
        logins.approve(caller, _signed_in_at(request), text, fields.text("code"), allowed)

    def _page(self, request: Request, text: str, form: FormState, status: int) -> Response:
        """
        Return the page of a request.

        Raises NotFound if nobody can decide about it any more.
        """
        caller, index = request.caller, self._context.index
        asked = index.device_logins.open_request(text)
        allowed = index.device_logins.allowed(caller, asked)
        hindrance, sign_in = self._hindrance(request, text, allowed)
        values = {
            "form": form,
            "text": text,
            "asked": asked,
            "seconds": max(0, int(index.runtime.seconds()) - asked.asked_at),
            "address": request.address,
            "choices": {action.word: patterns for action, patterns in allowed.items()},
            "rights": self._rights(request, asked.scope.indexes),
            "hindrance": hindrance,
            "sign_in": sign_in,
        }
        viewer = self._web.viewer(caller)
        return self._web.show(viewer, status, "login.html", ROOT, **values)

    def _rights(self, request: Request, names: tuple[str, ...]) -> list[str]:
        """Return what the caller may do in these indexes, or without any in that without a name."""
        index = self._context.index
        in_index = CallerElsewhere(request, index)
        return [
            words
            for name in names or ("",)
            for words in rights_of(in_index(index.named(name)), name) or ["nothing"]
        ]

    def _hindrance(self, request: Request, text: str, allowed: object) -> tuple[str, str]:
        """Return why the caller cannot approve, and the path on which to sign in again."""
        index, server = self._context.index, self._context.index.settings.server
        if server.read_only:
            return self._context.read_only().message, ""
        here = self._web.path(*request.segments, query=f"request={text}".encode())
        page, _, query = here.encode().partition(b"?")
        sign_in = f"{sign_in_url(page, query, server)}&again="
        try:
            index.device_logins.require_person(request.caller, _signed_in_at(request))
        except Forbidden as error:
            return error.fact, sign_in if index.settings.access.cookie_login else ""
        if not allowed:
            return "You have no rights of your own for which the program asks.", ""
        return "", ""


def _signed_in_at(request: Request) -> datetime | None:
    return signed_in_at(request) if can_own_tokens(request.caller) else None


def _require_try(limit: LoginRateLimit, key: str) -> None:
    """Raise Unavailable (code `rate_limited`) if a rate limit leaves no try for a key."""
    wait = limit.count_attempt(key)
    if wait:
        fact = "There were too many requests about logins."
        raise Unavailable(fact, code=RATE_LIMITED, retry_after=ceil(wait))


def _oauth_error(error: WheelyardError) -> Response:
    """Return the response to a request of a program that has failed."""
    answer = error_response_for(error)
    assert answer.error is not None  # noqa: S101 - as of each error
    body = {**asdict(answer.error), "error_description": error.message}
    return with_body(answer, JSON, encode(body))
