"""
A token that a person makes on the page of their tokens, for this machine.

The address of the page is made of the URL that the person has typed, and of nothing that a server
says: no server can lead a person, or the token, to another one.
"""

from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from wheelyard.api.access_operations import CallerRights, WhoAmI
from wheelyard.api_client import ApiConnection, ServerCredential, is_safe_for_credentials
from wheelyard.authentication.api_tokens import require_token_name
from wheelyard.authentication.caller_tokens import OWN_ACTIONS
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Forbidden, Invalid, Unauthenticated
from wheelyard.http_client.urls import Url
from wheelyard.model.access import Action, Pattern
from wheelyard.model.api_token import ApiToken

TOKENS_PATH: Final = "-/account/tokens/"
"""The path of the page, below that of the server."""
MAX_ADDRESS_CHARS: Final = 1800
"""The longest address: it has to fit into that of the sign-in page, which leads back to it."""


class WantedToken(Struct, frozen=True, kw_only=True):
    """
    The values that the form of a new token is filled in with.

    The constructor raises Invalid for a name that no token can have.
    """

    name: str
    actions: Action
    projects: tuple[Pattern, ...]
    days: int | None
    """The lifetime in days, or None for the one that the page offers by itself."""
    index: str = ""
    """The index that the token is to name, or empty."""

    def __post_init__(self) -> None:
        require_token_name(self.name)

    @property
    def query(self) -> str:
        """The query of the page's address."""
        # the form has one action, which implies the lower ones; it does not offer `admin`
        highest = max(self.actions & action for action in OWN_ACTIONS)
        fields = {"can": highest.word, "projects": ",".join(self.projects), "name": self.name}
        if self.days is not None:
            fields["days"] = str(self.days)
        if self.index:
            fields["index"] = self.index
        # a star and a comma stay as they are, for people who read the address
        return urlencode(fields, safe="*,")


def require_safe(server: Url) -> None:
    """Raise Invalid (code `https_required`) if a token would travel to a server unencrypted."""
    if not is_safe_for_credentials(server):
        raise Invalid(
            f"{server.redacted} would get the token unencrypted. Write https://, or make a tunnel "
            "to a port of this machine ('ssh -L').",
            code="https_required",
        )


def form_address(server: Url, form_fields: WantedToken) -> str:
    """
    Return the address of the page of a server with the form for a token, filled in.

    A password in the URL of the server is left out. Raises Invalid (code `invalid_field`) if the
    address is too long.
    """
    # redacted: an address with a password in it would be in the history of the browser
    page = f"{server.redacted.rstrip('/')}/{TOKENS_PATH}"
    address = f"{page}?{form_fields.query}"
    if len(address) > MAX_ADDRESS_CHARS:
        raise Invalid(
            "The names of these projects are too long together. Name fewer, or the beginning of "
            "names and a star.",
            code="invalid_field",
        )
    return address


def check_token(server: Url, token: ApiToken, runtime: Runtime) -> tuple[CallerRights, ...]:
    """
    Return the rights that a token has at a server, at least one.

    Raises Unauthenticated if the server does not accept the token, and Unavailable if the server
    does not answer. Raises Invalid (code `no_index`) if the server is none of wheelyard, or sees
    another caller, and (code `https_required`) if the token would travel unencrypted. Raises
    Forbidden for a token without rights.
    """
    credential = ServerCredential(f"Bearer {token.text}", "this login")
    connection = ApiConnection(server, credential, runtime)
    try:
        whoami = connection.send("GET", "whoami", WhoAmI)
    # without the advice of the server: the person still has the page that makes tokens
    except Unauthenticated as fault:
        raise Unauthenticated(fault.message, code=fault.code) from fault
    finally:
        connection.close()

    # a public index answers also those whose header was lost on the way
    if whoami.principal != f"token:{token.id}":
        raise Invalid(
            f"{server.redacted} does not see the token. A proxy before it may take it out of the "
            "requests: ask its operator.",
            code="no_index",
        )
    if not whoami.rights:
        raise Forbidden(
            f"{server.redacted} knows this token, which may do nothing there. Make one that may, "
            "or log in to the index that it is for."
        )
    return whoami.rights


def revoke(server: Url, token: str, runtime: Runtime) -> None:
    """
    Revoke a token at a server.

    Raises Unauthenticated if the token works no longer, or is of another server, and Unavailable if
    the server does not answer. Raises Invalid (code `no_index`) if the server is none of wheelyard,
    and (code `https_required`) if the token would travel unencrypted.
    """
    credential = ServerCredential(f"Bearer {token}", "the stored token")
    connection = ApiConnection(server, credential, runtime)
    try:
        connection.send("POST", "tokens/self/revoke", type(None))
    finally:
        connection.close()
