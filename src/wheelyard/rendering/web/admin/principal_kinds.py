"""The kinds of principals that a form offers, so that nobody has to know how they are written."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS

OTHER: Final = "other"
"""The kind of a principal that people write as a whole, as in a file."""
PERSON: Final = "person"
"""The kind in a link to a form that stands for any kind of principals of people."""
NOBODY: Final = ""
"""The kind in a form in which nobody was chosen."""
_PREFIXES_OF_PEOPLE: Final = ("oidc:", "htpasswd", "user")
"""The beginnings of `PrincipalKind.prefix` of the kinds for people."""


class PrincipalKind(Struct, frozen=True):
    """A kind of principal in a form."""

    prefix: str
    """The text before the name, without the last colon, or a whole principal without a name."""
    label: str
    example: str = ""
    """An example of a name, or an empty text for a kind without names."""


_STATIC: Final = PrincipalKind("static", "A static token", "proxy")
_OTHER: Final = PrincipalKind(OTHER, "Another principal, as in a file", "user:ana@acme.dev")


class CredentialsInUse(Struct, frozen=True, kw_only=True):
    """The kinds of credentials by which people and programs can show an index who they are."""

    passwords: bool
    google: bool
    static_tokens: bool
    providers: Sequence[str] = ()
    """The names of the providers with which people sign in."""

    def owners(self, prefixes: tuple[str, ...]) -> Iterator[PrincipalKind]:
        """Yield the kinds of principals that can own tokens: those with one of `prefixes`."""
        for kind in self.people():
            if f"{kind.prefix}:".startswith(prefixes):
                yield kind
        yield _OTHER

    def people(self) -> Iterator[PrincipalKind]:
        """Yield the kinds of principals of people, and of Google service accounts."""
        for provider in self.providers:
            yield PrincipalKind(f"oidc:{provider}", f"Somebody of {provider}", "ana@acme.dev")
        if self.passwords:
            yield PrincipalKind("htpasswd", "Somebody with a password", "ana")
        if self.google:
            yield PrincipalKind("user", "A Google account", "ana@acme.dev")
            example = "build@acme.iam.gserviceaccount.com"
            yield PrincipalKind("serviceAccount", "A Google service account", example)

    def grantees(self, *, is_member: bool = False) -> Iterator[PrincipalKind]:
        """Yield the kinds of principals that a grant can name, or that can be in a group."""
        if not is_member:
            yield PrincipalKind("group", "A group of this index", "ml-team")
        yield from self.people()
        for provider in self.providers:
            prefix = f"oidc:{provider}:group"
            label = f"A group of {provider}"
            yield PrincipalKind(prefix, label, "platform")
        if self.google:
            label = "Everybody of a Google Workspace domain"
            yield PrincipalKind("domain", label, "acme.dev")
        if self.static_tokens:
            yield _STATIC
        if not is_member:
            yield PrincipalKind(ALL_AUTHENTICATED, "Everybody with a credential")
            yield PrincipalKind(ANONYMOUS, "Everybody, also without a credential")
        yield _OTHER

    def subjects(self) -> Iterator[PrincipalKind]:
        """Yield the kinds of principals that a request can come from."""
        yield from self.people()
        yield PrincipalKind("token", "An API token, by its id", "x7Kq2mPz4A")
        yield PrincipalKind("publisher", "Jobs of a trusted publisher, by its id", "core")
        if self.static_tokens:
            yield _STATIC
        yield PrincipalKind(ANONYMOUS, "Somebody without a credential")
        yield _OTHER


def preset_principal(kind: str, principal: str, kinds: Sequence[PrincipalKind]) -> tuple[str, str]:
    """
    Return the kind and the name that a form shows first, by the kind and principal of a link to it.

    A link has the kind `other` and a whole principal, or the kind `person` and the whole principal
    of a person. `kinds` are the kinds that the form offers.
    """
    prefixes = [offered.prefix for offered in kinds]
    if kind == PERSON:
        for prefix in prefixes:
            # a provider has a kind for its groups, too, with a prefix that begins as its people's
            if prefix.startswith(_PREFIXES_OF_PEOPLE) and not prefix.endswith(":group"):
                return prefix, principal
        return NOBODY, principal
    matching = [prefix for prefix in prefixes if principal.startswith(f"{prefix}:")]
    if kind != OTHER or not matching:
        return kind, principal
    # the longest: that of the groups of a provider begins with that of its people
    prefix = max(matching, key=len)
    return prefix, principal.removeprefix(f"{prefix}:")


def chosen_principal(kind: str, name: str) -> str:
    """
    Return the principal that a form has sent as a kind and a name, without checking the name.

    A whole principal in place of the name is returned as it is. Raises Invalid if the name is
    missing (code `missing_field`), or if the kind takes no name (code `invalid_field`).
    """
    if kind in (NOBODY, ALL_AUTHENTICATED, ANONYMOUS):
        if name:
            message = "This kind has no name. Choose the kind of whom you mean, or leave it empty."
            raise Invalid(message, code="invalid_field")
        return kind
    if not name:
        raise Invalid("Write the name as well.", code="missing_field")
    # people paste a whole principal from a list or a journal
    if kind == OTHER or name.startswith(f"{kind}:"):
        return name
    return f"{kind}:{name}"
