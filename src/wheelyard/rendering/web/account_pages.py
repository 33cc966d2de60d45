"""What the templates show of the viewer's own account and API tokens, and of any form."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.model import access
from wheelyard.model.index_name import MAIN

TOKENS_ROOT: Final = "../../../"
"""The home page, relative to the pages of the caller's tokens."""


def rights_of(caller: access.Caller) -> tuple[str, ...]:
    """Return what a caller may do in one index, in words that do not name the index."""
    rights: set[str] = set()
    for scope in caller.scopes:
        # scopes of several indexes may have the same words
        actions = access.describe_actions(scope.actions)
        rights.add(f"{actions} {access.describe_projects(scope.projects)}")
    return tuple(sorted(rights))


class Account(Struct, frozen=True, kw_only=True):
    """A caller, and how that caller is signed in."""

    caller: access.Caller
    rights_elsewhere: Mapping[str, tuple[str, ...]]
    """The rights of the caller in each index where they differ from those in main, in words."""
    session_ends_at: datetime | None
    """When the session ends by itself, or None if the browser sends a credential each time."""
    is_by_proxy: bool
    """Whether Identity-Aware Proxy says who the caller is."""
    may_administer: bool
    index: str
    """The index from whose page the account was opened, or an empty text."""

    @property
    def who(self) -> str:
        """The principal in words."""
        return access.describe_principal(self.caller.principal, self.caller.name)

    @property
    def rights(self) -> tuple[str, ...]:
        """The rights of the caller in main, in words."""
        return rights_of(self.caller)

    @property
    def names(self) -> list[str]:
        """The principals by which a grant can name the caller, without those of everybody."""
        names = {self.caller.principal, *self.caller.principals}
        # everybody who is signed in has these two
        return sorted(names - {access.ALL_AUTHENTICATED, access.ANONYMOUS})


class ProviderLink(Struct, frozen=True):
    """The link with which people sign in at a provider."""

    title: str
    url: str


class FormState(Struct, frozen=True):
    """A form as a page shows it. A form that nobody has sent yet has no `values`."""

    token: str
    values: Mapping[str, tuple[str, ...]] = {}
    """The texts that were typed or ticked, by field."""
    error: str = ""
    wrong_field: str = ""
    """The field that the error is about, or an empty text if it is about no single field."""

    def value(self, name: str, default: str = "") -> str:
        """Return the text of a field, or `default` if the form was not sent."""
        if not self.values:
            return default
        texts = self.values.get(name, ())
        # once the form was sent, an empty field stays empty
        return texts[0] if texts else ""

    def ticked(self, name: str, value: str, *, default: bool = False) -> bool:
        """Return whether a box or a button has a value, or `default` if the form was not sent."""
        if not self.values:
            return default
        # a browser sends no field for a box that is not ticked
        return value in self.values.get(name, ())

    def error_of(self, name: str) -> str:
        """Return the error if it is about the field `name`, else an empty text."""
        if name == self.wrong_field:
            return self.error
        return ""


class TokensView(Struct, frozen=True, kw_only=True):
    """What the pages of a caller's own tokens show of the caller."""

    may_administer: bool
    hindrance: str = ""
    """Why the caller can make no token here, or an empty text if there is no reason."""
    sign_in: str = ""
    """The path on which to sign in again, or an empty text if that does not help."""
    may_change: bool
    """Whether this server takes changes of tokens: a read-only server does not."""
    max_days: int
    indexes: tuple[str, ...] = ()
    """The indexes that a token of the caller can be about, with `*` for an administrator."""
    preset: str = MAIN
    """The index that is ticked before the caller chooses one."""
