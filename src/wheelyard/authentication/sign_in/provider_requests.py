"""
The HTTP requests to providers, and the meaning of their errors (RFC 6749, RFC 7636).

OpenID Connect and GitHub share the URL to which a browser is sent, the exchange of a code, and the
error codes.
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
"""The timeout of one request to a provider."""
SILENT: Final = "silent"
"""Our error code for a provider that does not answer, or whose answer cannot be used."""
SETTINGS_ERRORS: Final = frozenset(
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
"""Our error code for an answer that has neither a code nor an error."""
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
"""The statuses with which providers send a refusal: those of RFC 6749, 5.2, and GitHub's."""

_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")
_SENDABLE_TOKEN: Final = re.compile(r"[!-~]{1,65536}")

logger = logging.getLogger("wheelyard")


class ProviderRequests:
    """
    Sends the requests to a provider, and raises our errors for those of the provider.

    Threads may share it.
    """

    def __init__(self, config: ProviderConfig, client: JsonClient) -> None:
        self._config = config
        self._client = client

    def authorization_url(
        self, endpoint: str, request: AuthorizationRequest, **further_parameters: str
    ) -> str:
        """Return the URL to which a browser has to go for a sign-in with PKCE."""
        config = self._config
        digest = sha256(request.verifier.encode()).digest()
        # those of the settings come first, so that they cannot replace any that the checks need
        parameters = {
            **config.parameters,
            "response_type": "code",
            "client_id": config.client_id,
            "redirect_uri": config.redirect_uri,
            "scope": " ".join(config.scopes),
            "state": request.state,
            "code_challenge": urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            **further_parameters,
        }
        # the endpoint of a provider may have a query of its own (RFC 6749, 3.1)
        separator = "&" if "?" in endpoint else "?"
        return f"{endpoint}{separator}{urlencode(parameters)}"

    def exchange_form(
        self, answer: AuthorizationAnswer, request: AuthorizationRequest
    ) -> dict[str, str]:
        """
        Return the form that exchanges the code of an answer, without the client's secret.

        If the answer has an error, or no code, raises Forbidden (code `sign_in_refused`) for a
        known refusal or a missing code, and Unavailable (code `identity_unavailable`) for any other
        error.
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
        Send a request, and return the JSON object in the answer.

        `authorization` is the value of that header, or an empty text for none. With `form`, the
        request is a POST of these fields, and else a GET. Raises Forbidden (code `sign_in_refused`)
        if the provider refuses the request, and Unavailable (code `identity_unavailable`) for any
        other error.
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
        """
        Send a request as `ask` does, and return the response of any status.

        Raises FetchError if the provider does not answer.
        """
        return self._client.fetch(
            url, timeout=TIMEOUT_SECONDS, authorization=authorization, form=form
        )

    def give_up(self, fault: FetchError) -> NoReturn:
        """
        Log why a provider cannot be asked, and raise Unavailable (code `identity_unavailable`).

        `fault` says that the provider does not answer, or what is wrong with its answer.
        """
        logger.warning("%s cannot be asked: %s", self._config.name, fault.why)
        self.refuse(SILENT)

    def refuse(self, error: str) -> NoReturn:
        """
        Raise our error for an error code of the provider.

        Raises Forbidden (code `sign_in_refused`) for a code of `REFUSALS`, and Unavailable (code
        `identity_unavailable`) for any other code, which is logged. Only Forbidden ends sessions,
        so an unknown code, which a gateway may have sent, ends none.
        """
        title = self._config.title
        code = known_code(error)
        reason = CredentialRejected(f"provider_{code}")
        if code in SETTINGS_ERRORS:
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
    """Return a token in an answer, or an empty text if it is missing or cannot be sent."""
    token = tokens.get(name)
    # the token becomes a part of a header, which a line break would end
    if isinstance(token, str) and _SENDABLE_TOKEN.fullmatch(token):
        return token
    return ""


def error_in(response: JsonResponse) -> str:
    """
    Return the error code in an answer of a token endpoint (RFC 6749, 5.2), or an empty text.

    Empty, too, for a refusal with a status that a gateway before the provider may have sent.
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
    # Auth0 sends this refusal with 403
    is_of_auth0 = status == HTTPStatus.FORBIDDEN and error == INVALID_GRANT
    is_of_provider = status in REFUSAL_STATUSES or is_of_auth0
    # a refusal ends sessions, so it counts only with a status with which providers send it
    if error in REFUSALS and not is_of_provider:
        return ""
    return error


def known_code(error: str) -> str:
    """Return a text that has the form of an error code as it is, or `other` for another text."""
    # the text may be from the URL of a browser, and is written to the log
    if _ERROR_CODE.fullmatch(error):
        return error
    return "other"
