"""The types of credentials of an index, by which forms offer kinds of principals."""

from wheelyard.rendering.web.admin.principal_kinds import CredentialsInUse
from wheelyard.wiring.index import Index


def credentials_in_use(index: Index) -> CredentialsInUse:
    """Return the types of credentials that people and programs can use in an index."""
    authenticator = index.authenticator
    settings = index.settings
    accepts_google = bool(settings.google.id_token.audience or settings.iap.audience)
    return CredentialsInUse(
        passwords=authenticator.htpasswd is not None,
        google=accepts_google,
        static_tokens=bool(authenticator.static_tokens.all()),
        providers=sorted(authenticator.owners.providers),
    )
