"""A row of the table of operations, and what every operation is given."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum, auto
from functools import cached_property
from typing import Any, get_type_hints

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authorization import parse_project_name, require_admin
from wheelyard.model.access import Action, Caller
from wheelyard.model.token import ApiToken
from wheelyard.wiring.index import Index


class Call(Struct, frozen=True, kw_only=True):
    """Who calls an operation, and on which index."""

    index: Index
    caller: Caller
    lists_public: bool = False
    """Whether a list of projects has the public packages that are used here, too."""
    signed_in_at: datetime | None = None
    """When the caller has signed in, if that is known and counts; None is now."""
    sent_token: ApiToken | None = None
    """The API token that the caller has sent as the credential, if it is one."""

    @property
    def by(self) -> str:
        """The principal of the caller."""
        return self.caller.principal


class RequiredRight(Enum):
    """Who may call an operation; what it changes it may check more narrowly."""

    READER = auto()
    """Whoever may read something; the operation checks what."""
    CALLER = auto()
    """Whoever has a credential."""
    MANAGER = auto()
    """Whoever may manage the project in the path."""
    ADMIN = auto()
    """Administrators."""


class ApiOperation(Struct, frozen=True, dict=True):
    """A row of the table: an operation, where it is in the API, and who may call it."""

    method: str
    path: str
    """Below `/api/v1/`; each `{name}` is an argument of the function."""
    run: Callable[..., Any]
    """
    Does it: a function of a `Call`, the arguments of the path and, if it has one, the `body`.

    The annotations of `body` and of what is returned are the JSON. The body of a GET is its query.
    """
    right: RequiredRight = RequiredRight.READER
    what: str = ""
    """What only administrators may do, for the message to others."""
    status: int = 200
    """The status of the response; 204 if the function returns None."""
    is_long: bool = False
    """Whether it may take long, so that only some of its kind run at a time."""
    asks_upstream: bool = False
    """Whether it may wait for an upstream index."""
    repeats: bool = True
    """Whether a client may send it again if it does not know what has come of it."""
    takes_iap: bool = False
    """Whether Identity-Aware Proxy, too, may say who calls."""

    @cached_property
    def body(self) -> type[Struct] | None:
        """The type of the body, or of the query of a GET; None if there is none."""
        kind: type[Struct] | None = get_type_hints(self.run).get("body")
        return kind

    @cached_property
    def answer(self) -> type[Any]:
        """The type of what is returned."""
        kind: type[Any] = get_type_hints(self.run)["return"]
        return kind

    def answer_to(self, call: Call, params: Mapping[str, str], body: Struct | None) -> object:
        """Do the operation with `arguments`, and return its answer."""
        arguments: dict[str, Any] = {**self.arguments(call, params)}
        return self.run(call, **arguments, **({} if body is None else {"body": body}))

    def arguments(self, call: Call, params: Mapping[str, str]) -> dict[str, NormalizedName | str]:
        """
        Return the arguments in a path; raise an error unless the caller may call the operation.

        Raise NotFound if the name of a project is none.
        """
        parsed = {
            name: parse_project_name(text) if name == "name" else text
            for name, text in params.items()
        }
        if self.right is RequiredRight.ADMIN:
            require_admin(call.caller, self.what)
        elif self.right is not RequiredRight.READER and call.caller.is_anonymous:
            raise invalid_credential()
        if self.right is RequiredRight.MANAGER:
            call.caller.require(Action.MANAGE, NormalizedName(parsed["name"]))
        return parsed
