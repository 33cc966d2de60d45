"""
Trusted publishers: CI jobs that may publish to projects, or read them, without a stored secret.

A `[[publisher]]` table has checks of claims. An ID token that passes all checks belongs to the
publisher. The projects need not exist yet. Which issuers may have private addresses is said by the
settings of a server, and by no table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
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
"""Claims that do not identify a job, or that are checked for each publisher."""
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?")
PRIVATE_ISSUER: Final = "allow_private_issuer"
"""A key of `[[publisher]]` that only earlier versions had."""
PROVIDERS: Final = {str(table.__struct_config__.tag): table for table in get_args(AnyTable)}
"""The class of the table of each provider."""


class Publisher(Struct, frozen=True, kw_only=True):
    """A set of CI jobs, or a service account, that may upload to its projects, or read them."""

    id: str
    table: AnyTable
    issuer: ProviderIssuer
    projects: tuple[Pattern, ...]
    """Exact names, or patterns if the publisher may only read."""
    actions: Action
    """`READ`, or `UPLOAD` with the actions that it implies."""
    indexes: tuple[str, ...]
    """The indexes that the publisher is about, as in a `Scope`."""
    is_single_use: bool
    """Whether an ID token gives only one API token, for which the ID token needs a `jti`."""

    @property
    def principal(self) -> str:
        """The publisher's principal in grants and journals: `publisher:ID`."""
        return f"publisher:{self.id}"

    @property
    def has_private_address(self) -> bool:
        """Whether the issuer, or the URL of its keys, has a private address in place of a name."""
        for url in (*self.issuer.names, self.issuer.keys_url):
            host = urlsplit(url).hostname or ""
            if _is_private(host):
                return True
        return False

    @property
    def scope(self) -> Scope:
        """The scope of the tokens that jobs of the publisher get."""
        return Scope(self.actions, self.projects, self.indexes)

    def checks(self, claims: Claims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token, in order, `iss` first."""
        job = JobClaims(claims)
        yield job.is_one_of("iss", self.issuer.names)
        yield from self.table.checks(job)
        yield job.lives_at_most(self.table.max_lifetime)

    def mismatch(self, claims: Claims) -> tuple[int, ClaimCheck] | None:
        """Return how many checks pass before the first that fails, and this check, or None."""
        for passed, check in enumerate(self.checks(claims)):
            if not check.is_right:
                return passed, check
        return None


def nearest_mismatch(publishers: Iterable[Publisher], claims: Claims) -> str:
    """
    Return a clause about the first wrong claim, for the publisher with most right claims before it.

    Of several such publishers, it is the first one.

    At least one publisher must have a mismatch.
    """
    # checks of ids come first, so more checks pass for the publisher that is meant than for others
    most_passed = -1
    description = ""
    for publisher in publishers:
        mismatch = publisher.mismatch(claims)
        if mismatch is None:
            continue
        passed, check = mismatch
        if passed > most_passed:
            most_passed = passed
            description = check.description
    return description


def publishing_log_fields(publisher: Publisher, claims: Claims) -> dict[str, str]:
    """
    Return the log fields `issuer`, `subject`, `commit` and `run`, without empty ones.

    `claims` are verified. `run` is the URL of the CI run.
    """
    # claims may have line breaks and any length, and a log has short lines
    log_texts = dict[str, str]()
    for name, value in claims.items():
        if isinstance(value, str | int):
            log_texts[name] = escaped(str(value))[:LOGGED_CLAIM_LIMIT_CHARS]
    # the ID token of another kind of job may lack a claim of the URL
    try:
        run = publisher.table.run_url.format_map(log_texts)
    except KeyError:
        run = ""
    commit = ""
    for name in _COMMIT_CLAIMS:
        if name in log_texts:
            commit = log_texts[name]
            break
    issuer = log_texts.get("iss", "")
    subject = log_texts.get("sub", "")
    fields = {"issuer": issuer, "subject": subject, "commit": commit, "run": run}
    return {name: value for name, value in fields.items() if value}


def job_name(publisher: Publisher, claims: Claims) -> str:
    """
    Return a name for the job of verified claims, for people who read the journal.

    The name is the URL of the CI run if that is known, else a verified e-mail address, else the
    subject. It is empty if the claims have none of these.
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

    Raises Invalid (code `bad_setting`) if another publisher has the same id, or the same issuer
    with other keys.
    """
    for existing in publishers:
        if existing.id == publisher.id:
            raise _invalid_table(publisher.id, "id", "another publisher has the same")
        # an issuer has one set of keys, about which all its publishers have to agree
        has_same_issuer = not set(existing.issuer.names).isdisjoint(publisher.issuer.names)
        if has_same_issuer and existing.issuer != publisher.issuer:
            why = "another publisher says other things of its keys"
            raise _invalid_table(publisher.id, "issuer", why)


def keys_of_provider(provider: str) -> frozenset[str]:
    """Return the keys that a table of a provider can have, or none for an unknown provider."""
    table_class = PROVIDERS.get(provider)
    if table_class is None:
        return frozenset()
    return frozenset({"provider", *table_class.__struct_encode_fields__})


def parse_publisher(table: Mapping[str, object]) -> Publisher:
    """
    Return the publisher in a `[[publisher]]` table.

    Raises Invalid (code `bad_setting`), with the key that is wrong, if the table is wrong.
    """
    decoded = _decode_publisher_table(table)
    if isinstance(decoded, Oidc):
        _require_narrow_match(decoded)
    if isinstance(decoded, Buildkite) and not (decoded.build_branch or decoded.build_tag):
        why = "is missing, and build_tag as well: give one"
        raise _invalid_table(decoded.id, "build_branch", why)
    issuer = decoded.provider_issuer
    _require_issuer(decoded, issuer)
    actions = parse_actions(decoded.actions)
    projects = [_parse_project(decoded.id, name, actions) for name in decoded.projects]
    return Publisher(
        id=decoded.id,
        table=decoded,
        issuer=issuer,
        projects=tuple(dict.fromkeys(projects)),
        actions=actions,
        indexes=_parse_indexes(decoded.id, decoded.index, actions),
        is_single_use=_is_single_use(decoded),
    )


def _decode_publisher_table(table: Mapping[str, object]) -> AnyTable:
    """Return a table as the class of its provider, or raise Invalid for the first wrong key."""
    provider = table.get("provider")
    table_class = None
    if isinstance(provider, str):
        table_class = PROVIDERS.get(provider)
    if table_class is None:
        why = "expected github, gitlab, google, buildkite or oidc"
        raise _invalid_table(table.get("id"), "provider", why)
    if PRIVATE_ISSUER in table:
        raise _private_issuer_error(table)
    keys = {key: value for key, value in table.items() if key != "provider"}
    try:
        decoded: AnyTable = decode_table(keys, table_class)
    except InvalidField as fault:
        error = _invalid_table(table.get("id"), fault.message)
        error.field = ""
        if fault.path:
            error.field = fault.path[0]
        raise error from fault
    return decoded


def _is_single_use(table: AnyTable) -> bool:
    """Return whether each ID token for a publisher gives only one API token."""
    if isinstance(table, Oidc):
        return table.require_jti
    # the metadata server of Google returns an ID token several times
    return not isinstance(table, Google)


def canonical_keys(keys: Mapping[str, object], publisher: Publisher) -> dict[str, Any]:
    """Return the keys of a publisher, with its projects and indexes in normalised form."""
    index = right_index_text(publisher.indexes)
    return {**keys, "projects": list(publisher.projects), "index": index}


def _parse_project(publisher: str, text: str, actions: Action) -> Pattern:
    """Return a project of a publisher, or a pattern if it may only read, or raise Invalid."""
    try:
        if actions == Action.READ:
            return parse_pattern(text)
        return Pattern(parse_name(text))
    except Invalid as fault:
        why = f"{quoted(text)} is not the exact name of a project"
        if "*" in text:
            why = f'{why}; a star at the end of a name needs actions = ["read"]'
        raise _invalid_table(publisher, "projects", why) from fault


def _parse_indexes(publisher: str, text: str, actions: Action) -> tuple[str, ...]:
    """Return the indexes that a publisher is about, or raise Invalid for a wrong name."""
    try:
        return parse_right_indexes(text, actions)
    except Invalid as fault:
        raise _invalid_table(publisher, "index", fault.message.removesuffix(".")) from fault


def _require_issuer(table: AnyTable, issuer: ProviderIssuer) -> None:
    """Raise Invalid if the URL of an issuer or of its keys is wrong, or has another provider."""
    name = issuer.names[0]
    _require_url(table.id, "issuer", name)
    if issuer.keys_url:
        _require_url(table.id, "jwks_url", issuer.keys_url)
    if not isinstance(table, Oidc) and name.endswith("/"):
        raise _invalid_table(table.id, "issuer", "expected no slash at its end")
    # with `oidc`, the checks of ids that the class of the provider makes would not be made
    provider = PROVIDER_BY_ISSUER.get(name.rstrip("/"))
    if provider not in (None, type(table).__name__.lower()):
        why = f'{quoted(name)} has rules of its own, which provider = "{provider}" knows'
        raise _invalid_table(table.id, "issuer", why)


def _require_url(publisher: str, key: str, url: str) -> None:
    """Raise Invalid unless a text is a URL that a server may ask for keys."""
    host = ""
    is_loopback = False
    with suppress(ValueError):
        host = urlsplit(url).hostname or ""
        is_loopback = ip_address(host).is_loopback
    if not _URL.fullmatch(url) or not host:
        raise _invalid_table(publisher, key, "expected a URL such as https://gitlab.example.com")
    # plain http is for an issuer on this machine, whose private address the settings have to allow
    if not url.startswith("https://") and not is_loopback:
        raise _invalid_table(publisher, key, "expected a URL that begins with https://")


def _is_private(host: str) -> bool:
    """Return whether a host is an address that the internet does not have. A name is none."""
    with suppress(ValueError):  # a name
        return not ip_address(host).is_global
    return False


def _private_issuer_error(table: Mapping[str, object]) -> Invalid:
    """Return the error about `PRIVATE_ISSUER` in a table: now the settings have that."""
    issuer = table.get("issuer")
    name = "the issuer"
    if isinstance(issuer, str):
        name = quoted(issuer)
    # a publisher can be added over the network, and must not decide which addresses a server asks
    return _invalid_table(
        table.get("id"),
        PRIVATE_ISSUER,
        f"take it out, and write {name} into private_issuers of [trusted_publishing] in the "
        "settings of each server that may ask it for its keys",
    )


def _require_narrow_match(table: Oidc) -> None:
    """
    Raise Invalid unless `match` of an OIDC table is valid, and narrow enough.

    `match` needs an exact `sub`, or exact values for two other claims, of which one is a text.
    """
    for claim in table.match:
        if claim in _NOT_IDENTIFYING:
            raise _invalid_table(
                table.id, "match", f"{claim} does not say which job the ID token is for"
            )
    exact_values = {claim: value for claim, value in table.match.items() if is_exact(value)}
    has_text = any(isinstance(value, str) for value in exact_values.values())
    is_narrow = "sub" in exact_values or (len(exact_values) > 1 and has_text)
    if not is_narrow:
        why = "expected an exact sub, or exact values for two other claims, not both true or false"
        raise _invalid_table(table.id, "match", why)


def _invalid_table(publisher: object, *key_and_problem: str) -> Invalid:
    """
    Return the error about a key of a table, whose id may be missing or of any type.

    `key_and_problem` is the key and what is wrong with the key, or one text with both.
    """
    name = "without an id"
    if isinstance(publisher, str):
        name = quoted(publisher)
    return Invalid(
        f"[[publisher]] {name}: {': '.join(key_and_problem)}. "
        f"See {DOCUMENTATION}/trusted-publishing.md.",
        code="bad_setting",
        field=key_and_problem[0],
    )
