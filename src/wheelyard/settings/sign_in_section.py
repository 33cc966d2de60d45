"""Tables `[[sign_in]]`: the providers with which people sign in in a browser."""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import fields

from wheelyard.model.person import PROVIDER_NAME
from wheelyard.model.variable_names import variable_part
from wheelyard.settings import value_checks as kinds

SIGN_IN_TABLES: Final = ("sign_in",)
"""The path of the `[[sign_in]]` tables."""
OPEN_ID: Final = "openid"
"""The scope that makes a request one of OpenID Connect."""
OWN_PARAMETERS: Final = frozenset(
    {
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "nonce",
        "redirect_uri",
        "registration",
        "request",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
    }
)
"""Parameters of an authorization request that `parameters` may not have."""
GITHUB: Final = "github"
"""The kind of a provider that is GitHub, which has no OpenID Connect for people."""
GITHUB_CLAIMS: Final = frozenset({"login", "organizations", "teams"})
"""The claims that `require` may have for GitHub."""
_SET_BY_GITHUB: Final = ("scopes", "name_claim", "groups_claim")
"""Keys that are always the same for GitHub."""
_MICROSOFT: Final = "login.microsoftonline.com"
_MICROSOFT_CONSUMERS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal accounts."""
_MANY_TENANTS: Final = frozenset({"common", "organizations", "consumers"})
"""Words that Microsoft takes in place of a tenant. No ID token has such an issuer."""
_PUBLIC_HOSTS: Final = frozenset({"accounts.google.com", "github.com", "gitlab.com"})
"""Hosts of issuers at which anybody can have an account."""

Name = Annotated[
    str,
    Meta(
        pattern=rf"\A{PROVIDER_NAME}\Z",
        description="up to 31 letters a-z, digits and hyphens, a letter first",
    ),
]
Claim = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z", description="name of a claim")]
Scope = Annotated[
    str, Meta(pattern=r"\A[!#-\[\]-~]{1,200}\Z", description="scopes such as email, without spaces")
]
Requirements = Annotated[
    dict[Claim, str | Annotated[tuple[str, ...], Meta(min_length=1)]],
    Meta(description='a table of claims and their values, such as { hd = "acme.dev" }'),
]
Parameters = Annotated[
    dict[str, str], Meta(description='a table of texts, such as { access_type = "offline" }')
]
Hours = Annotated[int, Meta(ge=1, le=12)]
Minutes = Annotated[int, Meta(ge=5, le=60)]


class SignInSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider, which is a table `[[sign_in]]`."""

    name: Name
    issuer: kinds.Url
    client_id: kinds.Audience
    kind: Literal["openid", "github"] = "openid"
    secret: str = ""
    title: kinds.Title = ""
    scopes: tuple[Scope, ...] = (OPEN_ID, "email", "profile")
    name_claim: Claim = "email"
    groups_claim: Claim | None = None
    require: Requirements = {}
    parameters: Parameters = {}
    allow_private: bool = False
    session_hours: Hours = 12
    renew_minutes: Minutes = 15

    def __repr__(self) -> str:  # without the secret, because it may be logged
        return f"SignInSettings(name={self.name!r}, issuer={self.issuer!r})"

    @property
    def secret_variable(self) -> str:
        """The name of the variable that has the secret."""
        return f"WHEELYARD_SIGN_IN_{variable_part(self.name)}_SECRET"

    @property
    def has_groups(self) -> bool:
        """Whether the provider says in which groups people are."""
        return self.groups_claim is not None or self.kind == GITHUB

    @property
    def is_open_to_all(self) -> bool:
        """Whether anybody can have an account at the provider, and `require` names nobody."""
        parts = urlsplit(self.issuer)
        is_consumers = parts.hostname == _MICROSOFT and _MICROSOFT_CONSUMERS in parts.path
        return not self.require and (parts.hostname in _PUBLIC_HOSTS or is_consumers)

    @property
    def problem(self) -> tuple[str, str] | None:
        """The first key that is wrong or contradicts another, and why, or None if all fit."""
        # a problem of the issuer comes first: without https no other key matters
        problem = self._issuer_problem
        if problem is not None:
            return problem
        problem = self._openid_problem
        if self.kind == GITHUB:
            problem = self._github_problem
        if problem is not None:
            return problem
        sent_by_wheelyard = sorted(OWN_PARAMETERS.intersection(self.parameters))
        if sent_by_wheelyard:
            return "parameters", f"wheelyard itself sends {sent_by_wheelyard[0]}. Leave it out"
        return None

    @property
    def _issuer_problem(self) -> tuple[str, str] | None:
        """What is wrong with the scheme of the issuer, as in `problem`."""
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not (self.allow_private and kinds.is_loopback_url(parts)):
            why = (
                "over plain HTTP others could sign in as anybody. Write https://; plain HTTP is "
                "for an issuer of this machine, with allow_private"
            )
            return "issuer", why
        return None

    @property
    def _openid_problem(self) -> tuple[str, str] | None:
        """What is wrong for a provider with OpenID Connect, as in `problem`."""
        parts = urlsplit(self.issuer)
        tenant = parts.path.strip("/").partition("/")[0]
        if parts.hostname == _MICROSOFT and (not tenant or tenant in _MANY_TENANTS):
            why = (
                "that stands for many tenants, and signs no ID token. Write the id of yours: "
                f"https://{_MICROSOFT}/TENANT-ID/v2.0"
            )
            return "issuer", why
        if parts.hostname == "github.com":
            return "issuer", f'GitHub has no OpenID Connect for people. Add kind = "{GITHUB}"'
        if OPEN_ID not in self.scopes:
            return "scopes", f"without {OPEN_ID} there is no ID token. Add it"
        return None

    @property
    def _github_problem(self) -> tuple[str, str] | None:
        """What is wrong for GitHub, as in `problem`."""
        if urlsplit(self.issuer).path.strip("/"):
            return "issuer", "that is a page of GitHub. Write the host alone: https://github.com"
        for field in fields(SignInSettings):
            if field.name in _SET_BY_GITHUB and getattr(self, field.name) != field.default:
                return field.name, "with GitHub it is always the same. Leave it out"
        for claim, values in self.require.items():
            texts = (values,) if isinstance(values, str) else values
            if claim not in GITHUB_CLAIMS:
                names = ", ".join(sorted(GITHUB_CLAIMS))
                return "require", f"of GitHub it can have {names}. Write one of these"
            if any(text != text.lower() for text in texts):
                return "require", "names of GitHub are in lower case here. Write them so"
        return None
