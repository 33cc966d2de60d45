"""
New names beside an upstream index: which ones may be taken, and taking them.

An upload of a name that an upstream index has is refused, because it would change what clients
install under that name. Whoever wants that says so, in `[upstream] shadow` or `private`.
"""

from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.private_names import PrivateNames
from wheelyard.errors import (
    UPSTREAM_UNAVAILABLE,
    UPSTREAM_UNPROVEN,
    Forbidden,
    Unavailable,
    quoted,
)
from wheelyard.model.access import Caller
from wheelyard.model.name_patterns import NamePatterns
from wheelyard.operations.audit_log import log_name

PUBLIC_NAME: Final = "public_name"
"""The code of a Forbidden for a name that an upstream index has."""
REFUSALS: Final = frozenset({PUBLIC_NAME, UPSTREAM_UNAVAILABLE, UPSTREAM_UNPROVEN})
"""The codes of errors about a name alone, which say nothing of the store."""


class UpstreamNames(Protocol):
    """The names of the upstream indexes."""

    def ask(self, name: NormalizedName) -> bool:
        """Return whether an upstream index has this name now; raise Unavailable if it is silent."""
        ...

    def forget(self, name: NormalizedName) -> object:
        """Remove what is known of this name, which is private now."""
        ...


class NameClaims(Struct, frozen=True, kw_only=True):
    """Decides whether a name may become private, and makes it private before its first file."""

    names: PrivateNames
    upstream: UpstreamNames
    shadow: NamePatterns
    """Names that may be taken although an upstream index has them."""
    asks_upstream: bool = True
    """Whether upstream indexes are asked at all."""

    def require_free(self, name: NormalizedName, caller: Caller) -> None:
        """
        Raise an error unless `name` is private, or may become it for a file of `caller`.

        Raises:
            Forbidden: An upstream index has this name (code `public_name`).
            Unavailable: The store does not say whether it is private, or no upstream index can say
                whether it is free (codes `upstream_unavailable` and `upstream_unproven`).
        """
        if not self.names.is_private(name):
            self._require_unknown_upstream(name, caller)

    def claim(self, name: NormalizedName, caller: Caller) -> tuple[str, ...]:
        """Make a name private for a file; return warnings, or raise as `require_free`."""
        self.require_free(name, caller)
        # also a name that is private: it may be a pattern that says so, or an answer of a cache
        self.names.claim(name)
        is_shadow = self.shadow.match(name)
        log_name("name_claimed", caller.principal, name, is_shadow=is_shadow)
        if is_shadow or not self.asks_upstream:
            with suppress(Unavailable):  # it is never shown again anyway
                self.upstream.forget(name)
        if not is_shadow:
            return ()
        return (f"{name} is private from now on: clients get no public package of that name",)

    def _require_unknown_upstream(self, name: NormalizedName, caller: Caller) -> None:
        if self.shadow.match(name) or not self.asks_upstream:
            return
        try:
            is_public = self.upstream.ask(name)
        except Unavailable as fault:
            if fault.code == UPSTREAM_UNPROVEN:
                raise
            fact = f"Nobody can say now whether {quoted(name)} is the name of a public package."
            raise Unavailable(
                f"{fact} If it is yours, the operator can write it into upstream.private, and "
                f"then nobody is asked. {fault.message}",
                code=UPSTREAM_UNAVAILABLE,
                retry_after=fault.retry_after,
            ) from fault
        if is_public:
            log_name("name_refused", caller.principal, name)
            # clients take other words of a 403 for "uploaded before", and go on
            fact = f"{quoted(name)} is the name of a public package."
            raise Forbidden(
                f"{fact} Choose another name. To serve your own package instead of the public one, "
                "the operator writes the name into upstream.shadow or upstream.private.",
                code=PUBLIC_NAME,
            )
