"""The page of the person who looks at it: who they are, and what they may do."""

from datetime import datetime

from msgspec import Struct

from wheelyard.model.access import Caller
from wheelyard.model.principals import credential_of, with_name


class Account(Struct, frozen=True, kw_only=True):
    """A caller, and how it is signed in."""

    caller: Caller
    session_ends_at: datetime | None
    """When the session ends by itself; None if the browser sends a credential each time."""
    is_by_proxy: bool
    """Whether Identity-Aware Proxy says who it is."""
    may_administer: bool

    @property
    def who(self) -> str:
        """The principal, with the name of its token."""
        return with_name(self.caller.principal, self.caller.name)

    @property
    def credential(self) -> str:
        """The kind of credential, in words; empty for one without a name."""
        return credential_of(self.caller.principal)
