"""From somebody's identity to what they may do: grants, and what the credential itself brings."""

from dataclasses import dataclass
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.grants import Grant, Grants
from wheelyard.model.identity import Identity

BY_PASSWORD: Final = Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,))
"""What a name in the htpasswd file may do where no grant says anything, as with pypiserver."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What everybody may do."""

    grants: Grants
    public: tuple[Scope, ...]
    """What anybody may do, with or without a credential."""
    by_password: Scope = BY_PASSWORD
    """What a name in the htpasswd file may do where there is no grant."""

    @property
    def anybody_uploads(self) -> bool:
        """Whether nobody has to be anybody to publish."""
        return any(scope.actions & Action.UPLOAD for scope in self.public)

    def caller(self, identity: Identity) -> Caller:
        """Return the caller that an identity is."""
        return Caller(identity.principal, self._scopes(identity), identity.principals)

    def of(self, names: frozenset[str]) -> tuple[Scope, ...]:
        """Return what somebody may do who goes by these names, now."""
        return (*self.grants.scopes_of(names), *self.public)

    def deciding(
        self, names: frozenset[str], action: Action, project: NormalizedName
    ) -> tuple[Grant, ...]:
        """Return the grants that let somebody do `action` to `project`."""
        return self.grants.deciding(names, action, project)

    def _scopes(self, identity: Identity) -> tuple[Scope, ...]:
        scopes = (*identity.scopes, *self.of(identity.principals))
        if not self.grants.every and identity.principal.startswith("htpasswd:"):
            return (self.by_password, *scopes)
        return scopes
