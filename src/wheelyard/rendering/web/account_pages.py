"""The pages to sign in, of the person who looks at them, of API tokens, and to upload."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.model.access import Caller
from wheelyard.model.api_token import ListedToken
from wheelyard.model.grants import credential_of, with_name
from wheelyard.rendering.web.environment import PageEnvironment, Viewer


class Account(Struct, frozen=True, kw_only=True):
    """A caller, and how it is signed in."""

    caller: Caller
    session_ends_at: datetime | None
    """When the session ends by itself, or None if the browser sends a credential each time."""
    is_by_proxy: bool
    """Whether Identity-Aware Proxy says who it is."""
    may_administer: bool
    may_change_password: bool
    has_changed_password: bool
    """Whether the password was changed just now."""

    @property
    def who(self) -> str:
        """The principal, with the name of its token."""
        return with_name(self.caller.principal, self.caller.name)

    @property
    def credential(self) -> str:
        """The kind of credential, in words, or an empty text for one without a name."""
        return credential_of(self.caller.principal)


class FormState(Struct, frozen=True):
    """A form as a page shows it, which has no `values` if nobody has sent it yet."""

    token: str
    values: Mapping[str, tuple[str, ...]] = {}
    """The texts that were typed or ticked, by field."""
    error: str = ""
    wrong_field: str = ""
    """The field that the error is about, or an empty text if it is about no single one."""

    def value(self, name: str, default: str = "") -> str:
        """Return the text of a field, or `default` if the form was not sent."""
        if not self.values:
            return default
        return next(iter(self.values.get(name, ())), "")

    def ticked(self, name: str, value: str, *, default: bool = False) -> bool:
        """Return whether a box or a button has a value, or `default` if the form was not sent."""
        return value in self.values.get(name, ()) if self.values else default

    def error_of(self, name: str) -> str:
        """Return the error if it is about the field `name`, else an empty text."""
        return self.error if name == self.wrong_field else ""


TOKENS_ROOT: Final = "../../../"
"""The home page, relative to the pages of the caller's tokens."""


class TokensView(Struct, frozen=True, kw_only=True):
    """What the pages of a caller's own tokens know of the caller."""

    may_administer: bool
    hindrance: str = ""
    """Why the caller can make no token here, or an empty text if there is no reason."""
    needs_sign_in: bool = False
    """Whether signing in again removes the hindrance."""
    may_revoke: bool
    """Whether tokens can be revoked here: not on a read-only server."""
    max_days: int


def tokens_page(
    environment: PageEnvironment,
    viewer: Viewer,
    view: TokensView,
    rows: Sequence[ListedToken],
    form: FormState,
    revoked: ListedToken | None = None,
) -> bytes:
    """Return the page with the list of tokens and the form for a new one."""
    newest = sorted(rows, key=lambda row: row.record.created_at, reverse=True)
    return environment.render(
        "tokens.html",
        viewer,
        TOKENS_ROOT,
        view=view,
        active=[row for row in newest if row.state == "active"],
        # each CI job leaves an expired token, of which there may be thousands
        others=[row for row in newest if row.state != "active" and not row.record.publishers],
        form=form,
        revoked=revoked,
    )
