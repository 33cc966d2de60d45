"""
Authorization: the scopes of an identity, from grants and from its own credential.

Grants in the store may change at any time, so callers pass those that are in force: they know
whether they may wait for the store.
"""

from typing import Final

from msgspec import Struct

from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Identity, Scope
from wheelyard.model.grants import Grants
from wheelyard.operations.access_control import AccessControl

DEFAULT_HTPASSWD_SCOPE: Final = Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,))
"""The scope of a password while the settings have no grant, as in pypiserver."""


class AuthorizationPolicy(Struct, frozen=True):
    """The authorization rules of an index: grants, public scopes, and the scope of passwords."""

    access: AccessControl
    public: tuple[Scope, ...]
    """The scopes of every caller, with or without a credential; from the settings alone."""
    htpasswd_scope: Scope | None
    """The scope of a user of the htpasswd file while the settings have no grant, else None."""

    @property
    def allows_anonymous_uploads(self) -> bool:
        """Whether a caller without a credential may upload to some project."""
        return any(scope.actions & Action.UPLOAD for scope in self.public)

    def authorize(self, identity: Identity, grants: Grants) -> Caller:
        """
        Return the caller for an identity: with its own scopes, those of grants, and public ones.

        A user of the htpasswd file has `htpasswd_scope` as well.
        """
        scopes = (*identity.scopes, *self.scopes_for(identity.principals, grants))
        if self.htpasswd_scope is not None and identity.principal.startswith("htpasswd:"):
            scopes = (self.htpasswd_scope, *scopes)
        return Caller(identity.principal, scopes, identity.principals)

    def scopes_for(self, principals: frozenset[str], grants: Grants) -> tuple[Scope, ...]:
        """Return the scopes that `grants` give to these principals, and the public ones."""
        return (*grants.scopes_of(principals), *self.public)
