"""Authorization: the scopes of an identity, from grants and from its own credential."""

from dataclasses import dataclass
from typing import Final

from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Identity, Scope
from wheelyard.model.grants import Grants

DEFAULT_HTPASSWD_SCOPE: Final = Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,))
"""The scope of a password while no grant is configured, as in pypiserver."""


@dataclass(frozen=True, slots=True)
class AuthorizationPolicy:
    """The authorization rules of an index: grants, public scopes, and the scope of passwords."""

    grants: Grants
    public: tuple[Scope, ...]
    """The scopes of every caller, with or without a credential."""
    htpasswd_scope: Scope = DEFAULT_HTPASSWD_SCOPE
    """The scope of a user of the htpasswd file while no grant is configured."""

    @property
    def allows_anonymous_uploads(self) -> bool:
        """Whether a caller without a credential may upload to some project."""
        return any(scope.actions & Action.UPLOAD for scope in self.public)

    def authorize(self, identity: Identity) -> Caller:
        """
        Return the caller for an identity: with its own scopes, those of grants, and public ones.

        While no grant is configured, a user of the htpasswd file has `htpasswd_scope` as well.
        """
        scopes = (*identity.scopes, *self.scopes_for(identity.principals))
        if not self.grants.all and identity.principal.startswith("htpasswd:"):
            scopes = (self.htpasswd_scope, *scopes)
        return Caller(identity.principal, scopes, identity.principals)

    def scopes_for(self, principals: frozenset[str]) -> tuple[Scope, ...]:
        """Return the scopes that grants give to these principals, and the public ones."""
        return (*self.grants.scopes_of(principals), *self.public)
