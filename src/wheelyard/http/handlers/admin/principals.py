"""Which principals the forms of an index offer."""

from wheelyard.rendering.web.admin.principal_kinds import CredentialsInUse
from wheelyard.wiring.index import Index


def credentials_in_use(index: Index) -> CredentialsInUse:
    """Return by what people and programs can show who they are."""
    authenticator = index.authenticator
    settings = index.settings
    return CredentialsInUse(
        passwords=authenticator.htpasswd is not None,
        google=bool(settings.google.id_token.audience or settings.iap.audience),
        static_tokens=bool(authenticator.static_tokens.all()),
        providers=sorted(authenticator.owners.providers),
    )
