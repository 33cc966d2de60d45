"""
What providers are asked over HTTP, and what their errors mean (RFC 6749, RFC 7636).

OpenID Connect and GitHub have this in common: the URL that a browser is sent to, the exchange of a
code, and the error codes.
"""

import json
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Final, NoReturn
from urllib.parse import urlencode

from wheelyard.authentication.sign_in.provider import (
    AuthorizationAnswer,
    AuthorizationRequest,
    ProviderConfig,
    provider_unavailable,
    refused,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import JsonClient, JsonResponse

TIMEOUT_SECONDS: Final = 10.0
"""For one request to a provider."""
SILENT: Final = "silent"
"""What stands for the error code of a provider that does not answer, or with what is none."""
NOT_OURS: Final = frozenset(
    {
        "application_suspended",
        "incorrect_client_credentials",
        "insufficient_scope",
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "redirect_uri_mismatch",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
"""Error codes that are about the settings, and not about a person."""

NO_CODE: Final = "no_code"
"""What stands for the error code of an answer that has neither a code nor an error."""
INVALID_GRANT: Final = "invalid_grant"
REFUSALS: Final = frozenset(
    {
        NO_CODE,
        INVALID_GRANT,
        "access_denied",
        "account_selection_required",
        "bad_credentials",
        "bad_verification_code",
        "consent_required",
        "interaction_required",
        "login_required",
        "unverified_user_email",
    }
)
"""Error codes with which a provider refuses a person: OAuth's, OpenID Connect's and GitHub's."""
REFUSAL_STATUSES: Final = frozenset(
    {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
)
"""Statuses of such an error: those of RFC 6749, 5.2, and that of GitHub."""

_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")
_TOKEN: Final = re.compile(r"[!-~]{1,65536}")

logger = logging.getLogger("wheelyard")


class ProviderRequests:
    """
    Makes the requests to a provider, and turns its errors into ours.

    Threads may share it.
    """

    def __init__(self, config: ProviderConfig, client: JsonClient) -> None:
        self._config = config
        self._client = client

    def authorization_url(self, endpoint: str, request: AuthorizationRequest, **more: str) -> str:
        """Return where a browser has to go to sign in, with PKCE, and `more` parameters."""
        config = self._config
        digest = sha256(request.verifier.encode()).digest()
        # ours come last: no parameter of the settings can replace one that the checks need
        parameters = {
            **config.parameters,
            "response_type": "code",
            "client_id": config.client_id,
            "redirect_uri": config.redirect_uri,
            "scope": " ".join(config.scopes),
            "state": request.state,
            "code_challenge": urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            **more,
        }
        # the endpoint of a provider may have a query of its own (RFC 6749, 3.1)
        separator = "&" if "?" in endpoint else "?"
        return f"{endpoint}{separator}{urlencode(parameters)}"

    def exchange_form(
        self, answer: AuthorizationAnswer, request: AuthorizationRequest
    ) -> dict[str, str]:
        """
        Return the form that exchanges the code of an answer, without the client's secret.

        Without a code, raises Forbidden (code `sign_in_refused`) for a known refusal, or if there
        is no error either. Raises Unavailable (code `identity_unavailable`) for any other error.
        """
        if answer.error or not answer.code:
            self.refuse(answer.error or NO_CODE)
        return {
            "grant_type": "authorization_code",
            "code": answer.code,
            "redirect_uri": self._config.redirect_uri,
            "code_verifier": request.verifier,
        }

    def ask(
        self, url: str, authorization: str = "", form: Mapping[str, str] | None = None
    ) -> Mapping[str, object]:
        """
        Return the JSON object that an endpoint answers.

        Raises Forbidden (code `sign_in_refused`) if it refuses what was sent, and Unavailable (code
        `identity_unavailable`) for any other error.
        """
        try:
            response = self.fetch(url, authorization, form)
            code = error_in(response)
            if code:
                self.refuse(code)
            document = response.document()
        except FetchError as fault:
            self.give_up(fault)
        return document

    def fetch(
        self, url: str, authorization: str = "", form: Mapping[str, str] | None = None
    ) -> JsonResponse:
        """Return the response of any status to a request, or raise FetchError without one."""
        return self._client.fetch(
            url, timeout=TIMEOUT_SECONDS, authorization=authorization, form=form
        )

    def give_up(self, fault: FetchError) -> NoReturn:
        """
        Raise the error for a provider that does not answer, or with what makes no sense.

        It is Unavailable (code `identity_unavailable`). Why is logged.
        """
        logger.warning("%s cannot be asked: %s", self._config.name, fault.why)
        self.refuse(SILENT)

    def refuse(self, error: str) -> NoReturn:
        """
        Raise the error of ours for an error code of the provider.

        It is Forbidden (code `sign_in_refused`) for one of `REFUSALS`, and Unavailable (code
        `identity_unavailable`) for any other, which is logged. Only a known refusal ends sessions,
        and not what a gateway may have sent.
        """
        title = self._config.title
        code = known_code(error)
        reason = CredentialRejected(f"provider_{code}")
        if code in NOT_OURS:
            logger.error(
                "%s refuses this index (%s): compare client_id, the secret, scopes, and the "
                "redirect URI %s with what is set there",
                self._config.name,
                code,
                self._config.redirect_uri,
            )
        elif code not in REFUSALS and code != SILENT:
            logger.warning("%s cannot be asked: it answered %s", self._config.name, code)
        if code not in REFUSALS:
            raise provider_unavailable(title) from reason
        raise refused(
            f"{title} did not sign you in. Sign in again, or ask the operator of this index "
            "whether your account may."
        ) from reason


def token_in(tokens: Mapping[str, object], name: str) -> str:
    """Return a token of an answer, or an empty text if there is none that can be sent."""
    token = tokens.get(name)
    # it becomes a part of a header: a line break in it would end that
    if isinstance(token, str) and _TOKEN.fullmatch(token):
        return token
    return ""


def error_in(response: JsonResponse) -> str:
    """
    Return the error code of a token endpoint (RFC 6749, 5.2), or an empty text.

    It is also empty for a refusal with a status that a gateway before the provider may have sent.
    """
    status = response.status
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    if not isinstance(error, str):
        return ""
    # Auth0 sends this one with 403
    is_of_auth0 = status == HTTPStatus.FORBIDDEN and error == INVALID_GRANT
    # a refusal ends sessions, so it counts only with a status that a provider sends it with
    if error in REFUSALS and status not in REFUSAL_STATUSES and not is_of_auth0:
        return ""
    return error


def known_code(error: str) -> str:
    """Return an error code, or `other` for text that is none."""
    # it is written to the log, and comes from the URL of a browser
    if _ERROR_CODE.fullmatch(error):
        return error
    return "other"
