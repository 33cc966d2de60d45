"""
Logins of this machine at a server, through a browser (RFC 8628).

The program asks for a login, shows a URL and a code, and asks every few seconds whether a person
has approved. Nothing is stored here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.api_client import ApiConnection, ServerCredential
from wheelyard.errors import (
    AUTHORIZATION_PENDING,
    EXPIRED_LOGIN,
    SLOW_DOWN,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from wheelyard.http_client.urls import Url
from wheelyard.settings.sections import is_loopback

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_SECONDS: Final = 5
"""By so much the pause grows if the server says that it is too short (RFC 8628, section 3.5)."""


class WantedLogin(Struct, frozen=True, kw_only=True):
    """What a program asks for."""

    name: str
    host: str
    """The name of this machine."""
    can: Sequence[str]
    projects: Sequence[str]
    days: int | None
    """None for what the server gives by default."""
    index: str = ""
    """The index that the token is to name, or empty."""


class DeviceAuthorization(Struct, frozen=True):
    """The answer to a program that asks for a login."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    interval: int = 5

    def __repr__(self) -> str:  # without the secret
        return f"DeviceAuthorization(verification_uri={self.verification_uri!r})"


class DeviceToken(Struct, frozen=True):
    """The token of an approved login."""

    access_token: str
    scope: str
    projects: tuple[str, ...]
    id: str
    name: str
    owner: str
    expires: datetime
    index: str = ""

    def __repr__(self) -> str:  # without the secret
        return f"DeviceToken(id={self.id!r})"


def require_safe(server: Url) -> None:
    """Raise Invalid (code `https_required`) if a token from a server would travel unencrypted."""
    if not (server.is_secure or is_loopback(server.host.strip("[]"))):
        raise Invalid(
            f"{server.redacted} would send the token unencrypted. Write https://, or make a tunnel "
            "to a port of this machine ('ssh -L').",
            code="https_required",
        )


def begin_login(connection: ApiConnection, wanted: WantedLogin) -> DeviceAuthorization:
    """
    Ask a server for a login.

    Raises as `ApiConnection.send`, and Invalid (code `no_index`) if the server knows no logins.
    """
    fields: dict[str, str | Sequence[str]] = {
        "client_id": "wheelyard",
        "scope": " ".join(wanted.can),
        "project": wanted.projects,
        "name": wanted.name,
        "host": wanted.host,
    }
    if wanted.index:
        fields["index"] = wanted.index
    if wanted.days is not None:
        fields["days"] = str(wanted.days)
    try:
        return connection.send_form("_/login/device", fields, DeviceAuthorization, repeats=True)
    except (NotFound, Unauthenticated) as error:  # as an older server answers
        raise Invalid(
            f"{connection.server.redacted} has no logins through a browser. Give the root URL of "
            "the index, or ask its operator for a newer wheelyard.",
            code="no_index",
        ) from error


def await_token(connection: ApiConnection, login: DeviceAuthorization) -> DeviceToken:
    """
    Return the token of a login, once somebody has approved it.

    Raises Invalid if it is refused, or its time has passed (codes of RFC 8628). Raises as
    `ApiConnection.send` for other errors; if the server does not answer for a while, it is asked
    again.
    """
    runtime, pause = connection.runtime, login.interval
    ends_at = runtime.monotonic() + login.expires_in
    fields = {"grant_type": GRANT_TYPE, "device_code": login.device_code, "client_id": "wheelyard"}
    while runtime.monotonic() < ends_at:
        runtime.pause(pause)
        try:
            # never repeated: the token is given once
            return connection.send_form("_/login/token", fields, DeviceToken, repeats=False)
        except Invalid as error:
            if error.code == SLOW_DOWN:
                pause += SLOWER_SECONDS
            elif error.code != AUTHORIZATION_PENDING:
                raise
        except Unavailable:
            pause += SLOWER_SECONDS
    raise Invalid("Nobody has approved the login in time. Begin again.", code=EXPIRED_LOGIN)


def revoke(connection: ApiConnection, token: str) -> None:
    """
    Revoke a token at the server of a connection.

    Raises as `ApiConnection.send`: Unauthenticated if it works no longer, or is of another server.
    """
    credential = ServerCredential(f"Bearer {token}", "the stored token")
    owner = ApiConnection(connection.server, credential, connection.runtime)
    try:
        owner.send("POST", "tokens/self/revoke", type(None))
    finally:
        owner.close()
