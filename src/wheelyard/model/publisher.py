"""
Trusted publishers: CI jobs that may publish to projects, or read them, without a stored secret.

A `[[publisher]]` table has checks of claims. An ID token that passes all of them belongs
to the publisher. The projects need not exist yet. Which private addresses of issuers a server may
ask is for its settings to say, and for no table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from operator import itemgetter
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from msgspec import Struct

from wheelyard.errors import DOCUMENTATION, Invalid, quoted
from wheelyard.model.access import (
    Action,
    Pattern,
    Scope,
    parse_actions,
    parse_pattern,
    parse_right_indexes,
    right_index_text,
)
from wheelyard.model.claim_matchers import ClaimCheck, Claims, JobClaims
from wheelyard.model.decoding import InvalidField, decode_table, escaped, to_one_line
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.publisher_claim_rules import (
    PROVIDER_BY_ISSUER,
    AnyTable,
    Buildkite,
    Google,
    Oidc,
    ProviderIssuer,
    is_exact,
)

LOGGED_CLAIM_LIMIT_CHARS: Final = 200

_COMMIT_CLAIMS: Final = ("sha", "build_commit")
_NOT_IDENTIFYING: Final = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})
"""Claims that do not identify a job, or that are always checked."""
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?")
PRIVATE_ISSUER: Final = "allow_private_issuer"
"""A key that earlier versions had."""
PROVIDERS: Final = {str(table.__struct_config__.tag): table for table in get_args(AnyTable)}
"""The class of the table of each provider."""


class Publisher(Struct, frozen=True, kw_only=True):
    """A set of CI jobs, or a service account, that may upload to its projects, or read them."""

    id: str
    table: AnyTable
    issuer: ProviderIssuer
    projects: tuple[Pattern, ...]
    """Exact names, unless it may only read."""
    actions: Action
    """`READ`, or `UPLOAD` with what it implies."""
    indexes: tuple[str, ...]
    """The indexes that it is about, as in a `Scope`."""
    is_single_use: bool
    """Whether each ID token is good for one API token, and so needs a `jti`."""

    @property
    def principal(self) -> str:
        """The publisher's principal in grants and journals: `publisher:ID`."""
        return f"publisher:{self.id}"

    @property
    def has_private_address(self) -> bool:
        """Whether its issuer, or the URL of the keys, has a private address in place of a name."""
        for url in (*self.issuer.names, self.issuer.keys_url):
            if _is_private(urlsplit(url).hostname or ""):
                return True
        return False

    @property
    def scope(self) -> Scope:
        """The scope of its tokens."""
        return Scope(self.actions, self.projects, self.indexes)

    def checks(self, claims: Claims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token, in order, `iss` first."""
        job = JobClaims(claims)
        yield job.is_one_of("iss", self.issuer.names)
        yield from self.table.checks(job)
        yield job.lives_at_most(self.table.max_lifetime)

    def mismatch(self, claims: Claims) -> tuple[int, ClaimCheck] | None:
        """Return the number of checks before the first that fails, and that one, else None."""
        for passed, check in enumerate(self.checks(claims)):
            if not check.is_right:
                return passed, check
        return None


def nearest_mismatch(publishers: Iterable[Publisher], claims: Claims) -> str:
    """
    Return a clause about the wrong claim, for the publisher of which most checks have passed.

    At least one publisher must have a mismatch.
    """
    # checks of ids come first, so the publisher that is meant passes more of them than others
    mismatches = filter(None, (publisher.mismatch(claims) for publisher in publishers))
    return max(mismatches, key=itemgetter(0))[1].description


def publishing_log_fields(publisher: Publisher, claims: Claims) -> dict[str, str]:
    """
    Return the log fields `issuer`, `subject`, `commit` and `run`, without empty ones.

    `claims` are verified. `run` is the URL of the CI run.
    """
    # an ID token has any text and any length, and a log has lines
    plain = dict[str, str]()
    for name, value in claims.items():
        if isinstance(value, str | int):
            plain[name] = escaped(str(value))[:LOGGED_CLAIM_LIMIT_CHARS]
    # a token of another kind of job may lack a claim of the URL
    try:
        run = publisher.table.run_url.format_map(plain)
    except KeyError:
        run = ""
    commit = next((plain[name] for name in _COMMIT_CLAIMS if name in plain), "")
    issuer = plain.get("iss", "")
    subject = plain.get("sub", "")
    fields = {"issuer": issuer, "subject": subject, "commit": commit, "run": run}
    return {name: value for name, value in fields.items() if value}


def job_name(publisher: Publisher, claims: Claims) -> str:
    """
    Return a name for the job of verified claims, for people who read the journal.

    It is the URL of the CI run if that is known, else a verified e-mail address, else the subject,
    or empty if the claims have none of them.
    """
    fields = publishing_log_fields(publisher, claims)
    name = fields.get("subject", "")
    email = claims.get("email")
    # an address that nobody has verified would put another person's name into the journal
    if claims.get("email_verified") is True and isinstance(email, str):
        name = email
    if "run" in fields:
        name = fields["run"]
    return to_one_line(name, LOGGED_CLAIM_LIMIT_CHARS)


def max_lifetime_by_issuer(publishers: Iterable[Publisher]) -> dict[ProviderIssuer, int]:
    """Return the most seconds that an ID token may live for any publisher of each issuer."""
    lifetimes = dict[ProviderIssuer, int]()
    for publisher in publishers:
        longest = lifetimes.get(publisher.issuer, 0)
        lifetimes[publisher.issuer] = max(publisher.table.max_lifetime, longest)
    return lifetimes


def require_agreement(publisher: Publisher, publishers: Iterable[Publisher]) -> None:
    """
    Check that a publisher can be in force together with other publishers.

    Raises Invalid (code `bad_setting`) if one of them has its id, or says other things of the keys
    of its issuer.
    """
    for other in publishers:
        if other.id == publisher.id:
            raise _wrong(publisher.id, "id", "another publisher has the same")
        # one issuer has one set of keys, so all its publishers have to say the same of them
        has_name_of_issuer = not set(other.issuer.names).isdisjoint(publisher.issuer.names)
        if has_name_of_issuer and other.issuer != publisher.issuer:
            why = "another publisher says other things of its keys"
            raise _wrong(publisher.id, "issuer", why)


def keys_of_provider(provider: str) -> frozenset[str]:
    """Return the keys that a table of a provider can have, or none for an unknown provider."""
    kind = PROVIDERS.get(provider)
    if kind is None:
        return frozenset()
    return frozenset({"provider", *kind.__struct_encode_fields__})


def parse_publisher(table: Mapping[str, object]) -> Publisher:
    """
    Return the publisher in a `[[publisher]]` table.

    Raises Invalid (code `bad_setting`), with the key that is wrong, if the table is wrong.
    """
    provider = table.get("provider")
    kind = None
    if isinstance(provider, str):
        kind = PROVIDERS.get(provider)
    if kind is None:
        why = "expected github, gitlab, google, buildkite or oidc"
        raise _wrong(table.get("id"), "provider", why)
    if PRIVATE_ISSUER in table:
        raise _private_issuer(table)
    fields = {key: value for key, value in table.items() if key != "provider"}
    try:
        parsed: AnyTable = decode_table(fields, kind)
    except InvalidField as wrong:
        fault = _wrong(table.get("id"), wrong.message)
        fault.field = ""
        if wrong.path:
            fault.field = wrong.path[0]
        raise fault from wrong
    if isinstance(parsed, Oidc):
        _check_match(parsed)
    if isinstance(parsed, Buildkite) and not (parsed.build_branch or parsed.build_tag):
        raise _wrong(parsed.id, "build_branch", "is missing, and build_tag as well: give one")
    issuer = parsed.provider_issuer

    # the metadata server of Google returns an ID token several times
    has_jti = not isinstance(parsed, Google)
    if isinstance(parsed, Oidc):
        has_jti = parsed.require_jti
    _check_issuer(parsed, issuer)
    actions = parse_actions(parsed.actions)
    projects = (_pattern(parsed.id, name, actions) for name in parsed.projects)
    return Publisher(
        id=parsed.id,
        table=parsed,
        issuer=issuer,
        projects=tuple(dict.fromkeys(projects)),
        actions=actions,
        indexes=_indexes(parsed.id, parsed.index, actions),
        is_single_use=has_jti,
    )


def canonical_keys(keys: Mapping[str, object], publisher: Publisher) -> dict[str, Any]:
    """Return the keys of a publisher with its projects and indexes as they count."""
    index = right_index_text(publisher.indexes)
    return {**keys, "projects": list(publisher.projects), "index": index}


def _pattern(publisher: str, text: str, actions: Action) -> Pattern:
    """Return a project of a publisher, or raise Invalid. Only one that reads may have patterns."""
    try:
        if actions == Action.READ:
            return parse_pattern(text)
        return Pattern(parse_name(text))
    except Invalid as fault:
        why = f"{quoted(text)} is not the exact name of a project"
        if "*" in text:
            why = f'{why}; a star at the end of a name needs actions = ["read"]'
        raise _wrong(publisher, "projects", why) from fault


def _indexes(publisher: str, text: str, actions: Action) -> tuple[str, ...]:
    """Return the indexes that a publisher is about, or raise Invalid for a wrong name."""
    try:
        return parse_right_indexes(text, actions)
    except Invalid as fault:
        raise _wrong(publisher, "index", fault.message.removesuffix(".")) from fault


def _check_issuer(table: AnyTable, issuer: ProviderIssuer) -> None:
    """Raise Invalid unless a table can be about its issuer."""
    name = issuer.names[0]
    _check_url(table.id, "issuer", name)
    if issuer.keys_url:
        _check_url(table.id, "jwks_url", issuer.keys_url)
    if not isinstance(table, Oidc) and name.endswith("/"):
        raise _wrong(table.id, "issuer", "expected no slash at its end")
    # `oidc` would go around the checks of ids that the class of the provider makes
    provider = PROVIDER_BY_ISSUER.get(name.rstrip("/"))
    if provider not in (None, type(table).__name__.lower()):
        why = f'{quoted(name)} has rules of its own, which provider = "{provider}" knows'
        raise _wrong(table.id, "issuer", why)


def _check_url(publisher: str, key: str, url: str) -> None:
    """Raise Invalid unless a text is a URL that a server may ask for keys."""
    host = ""
    is_loopback = False
    with suppress(ValueError):
        host = urlsplit(url).hostname or ""
        is_loopback = ip_address(host).is_loopback
    if not _URL.fullmatch(url) or not host:
        raise _wrong(publisher, key, "expected a URL such as https://gitlab.example.com")
    # an issuer on this machine has a private address, which the settings have to allow
    if not url.startswith("https://") and not is_loopback:
        raise _wrong(publisher, key, "expected a URL that begins with https://")


def _is_private(host: str) -> bool:
    """Return whether a host is an address that is not one of the internet."""
    with suppress(ValueError):  # a name
        return not ip_address(host).is_global
    return False


def _private_issuer(table: Mapping[str, object]) -> Invalid:
    """Return the error for a table with a key of earlier versions, which the settings have now."""
    issuer = table.get("issuer")
    name = "the issuer"
    if isinstance(issuer, str):
        name = quoted(issuer)
    # a publisher is added over the network, and decides no longer which addresses a server asks
    return _wrong(
        table.get("id"),
        PRIVATE_ISSUER,
        f"take it out, and write {name} into private_issuers of [trusted_publishing] in the "
        "settings of each server that may ask it for its keys",
    )


def _check_match(table: Oidc) -> None:
    """
    Raise Invalid unless `match` of an OIDC table is valid, and narrow enough.

    It needs an exact `sub`, or exact values of two other claims, at least one of them a text.
    """
    for claim in table.match:
        if claim in _NOT_IDENTIFYING:
            raise _wrong(table.id, "match", f"{claim} does not say which job the ID token is for")
    exact = {claim: value for claim, value in table.match.items() if is_exact(value)}
    has_text = any(isinstance(value, str) for value in exact.values())
    is_narrow = "sub" in exact or (len(exact) > 1 and has_text)
    if not is_narrow:
        why = "expected an exact sub, or exact values for two other claims, not both true or false"
        raise _wrong(table.id, "match", why)


def _wrong(publisher: object, *what: str) -> Invalid:
    """Return the error about a key of a table, whose id may be missing or of any type."""
    name = "without an id"
    if isinstance(publisher, str):
        name = quoted(publisher)
    return Invalid(
        f"[[publisher]] {name}: {': '.join(what)}. See {DOCUMENTATION}/trusted-publishing.md.",
        code="bad_setting",
        field=what[0],
    )
