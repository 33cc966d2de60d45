"""Validation of settings together: contradictions, and warnings about open indexes."""

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address, ip_network
from itertools import chain
from os.path import realpath
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    describe_actions,
    describe_indexes,
    intersection,
    parse_actions,
    parse_name_patterns,
)
from wheelyard.model.grants import Grant, Grants, groups_in
from wheelyard.model.index_definition import label_taken
from wheelyard.model.index_name import MAIN, UPSTREAM_LAYER
from wheelyard.model.rule_keys import RuleKeys
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.settings.sections import MEMORY_LOCATION, Settings, StoreSettings, is_loopback
from wheelyard.settings.upstream_section import (
    OF_ONE_INDEX,
    UpstreamIndexSettings,
    UpstreamSettings,
)
from wheelyard.settings.value_checks import bad_setting, quote_safely
from wheelyard.storage.location import BUCKET_FORMS, BucketLocation, is_bucket, parse_location

_PORT: Final = re.compile(r":[0-9]*\Z")
"""The port at the end of a host."""


def validate(settings: Settings) -> Settings:
    """
    Return the settings with `path_prefix` normalised, and `cookie_login` on for `[[sign_in]]`.

    The type of each value was checked before. Raises Invalid (code `bad_setting`) if settings
    contradict each other. Its message has a sentence for each contradiction.
    """
    # all problems are in one message, so that one start shows what has to be corrected
    problems = list(_place_errors(settings))
    problems += _access_errors(settings)
    problems += _sign_in_errors(settings)
    problems += _upstream_errors(settings)
    problems += settings.webhooks.problems
    if problems:
        raise bad_setting(". ".join(problems))
    prefix = settings.server.path_prefix.strip("/")
    if prefix:
        prefix = f"/{prefix}"
    # people who sign in with a provider have sessions, too
    has_sessions = settings.access.cookie_login or bool(settings.sign_in)
    return replace(
        settings,
        server=replace(settings.server, path_prefix=prefix),
        access=replace(settings.access, cookie_login=has_sessions),
    )


def _grants_to_everybody(grants: Grants) -> Iterator[Grant]:
    """Yield the grants that let anonymous clients read all projects of an index."""
    for grant in grants.all:
        if ANONYMOUS in grant.principals and EVERY_PROJECT in grant.scope.projects:
            yield grant


def _place_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the places of packages and of credentials."""
    store = settings.store
    credentials_store = settings.access.credentials_store
    if is_bucket(store.location) and store.downloads == "public":
        yield from _public_download_errors(store, credentials_store)
    for name in ("files", "downloads"):
        is_default = getattr(store, name) == getattr(StoreSettings(), name)
        if not is_default and not is_bucket(store.location):
            why = f"Leave it out, or give {BUCKET_FORMS} as the location"
            yield f"store.{name}: it is for a bucket, and store.location names none. {why}"
    if credentials_store and store.location == MEMORY_LOCATION:
        yield "access.credentials_store: a store in memory keeps its tokens there. Leave it out"
    elif credentials_store and _is_one_place(credentials_store, store.location):
        yield "access.credentials_store: it is store.location. Leave it out, or name another"
    if settings.server.workers > 1 and store.location == MEMORY_LOCATION:
        yield "server.workers: a store in memory cannot be shared. Use one worker"


def _public_download_errors(store: StoreSettings, credentials_store: str) -> Iterator[str]:
    """Yield why everybody could read credentials if the bucket of the files is public."""
    # a bucket is public as a whole: a prefix keeps nobody from the rest of the bucket
    documents_bucket = parse_location(store.location).root
    # without a place of their own, the files are beside the documents
    files_bucket = parse_location(store.files or store.location).root
    if files_bucket == documents_bucket:
        why = f"everybody may read a whole public bucket, and {documents_bucket} holds credentials"
        yield f"store.downloads: {why}, too. Name another one in store.files"
    if is_bucket(credentials_store) and parse_location(credentials_store).root == files_bucket:
        why = f"everybody may read {files_bucket}, as store.downloads says"
        yield f"access.credentials_store: {why}. Keep the tokens in another one"


def _is_one_place(location: str, other_location: str) -> bool:
    """Return whether two locations, however they are written, name one place."""
    return _canonical_place(location) == _canonical_place(other_location)


def _canonical_place(path: str) -> BucketLocation | str:
    """Return the bucket, or the folder without links, that a location names."""
    if is_bucket(path):
        return parse_location(path)
    return realpath(path)


def _access_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with who can reach the server, sign in, and publish."""
    access = settings.access
    needs_loopback = access.anonymous_uploads and not access.anonymous_uploads_anywhere
    if needs_loopback and not settings.server.is_loopback:
        host = quote_safely(settings.server.host)
        yield (
            f"access.anonymous_uploads: whoever reaches {host} could publish anything here. Listen "
            "on 127.0.0.1; or, if that is meant, set anonymous_uploads_anywhere, or give --i-know"
        )
    if settings.google.id_token.allowed_domains and not settings.google.id_token.audience:
        why = "ID tokens are off. Say in audience what they call this index, or leave both out"
        yield f"google.id_token.allowed_domains: {why}"
    yield from _attestation_errors(settings)
    yield from _public_url_errors(settings)
    if access.cookie_login or settings.sign_in:
        yield from _cookie_errors(settings)
    yield from _publishing_errors(settings)


def _attestation_errors(settings: Settings) -> Iterator[str]:
    """Yield each setting of attestations that has no effect, as none are accepted."""
    attestations = settings.attestations
    if attestations.accept:
        return
    # the rule `verified` of public files uses the root, too
    has_public_files = settings.upstream.is_on
    unused_settings = {
        "require": bool(attestations.require),
        "trusted_root": bool(attestations.trusted_root) and not has_public_files,
    }
    for name, has_no_effect in unused_settings.items():
        if has_no_effect:
            yield f"attestations.{name}: no attestations are accepted. Set accept, or leave it out"


def _public_url_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the URL that others reach the server at, and with its TLS."""
    server = settings.server
    prefix = server.path_prefix.strip("/")
    path = urlsplit(server.public_url).path.rstrip("/")
    if server.public_url and prefix and not path.endswith(f"/{prefix}"):
        why = f"expected it to end with the path_prefix, {quote_safely(f'/{prefix}')}"
        yield f"server.public_url: {why}"
    yield from _tls_errors(settings)
    # with or without its port, as `HostPolicy` compares them
    host = urlsplit(server.public_url.lower()).netloc
    trusted_hosts = {name.lower() for name in settings.access.trusted_hosts}
    if trusted_hosts and host and trusted_hosts.isdisjoint({host, _PORT.sub("", host)}):
        why = "server.public_url sends everybody there"
        yield f"access.trusted_hosts: {quote_safely(host)} is not among them, and {why}"


def _tls_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the certificate, and with a public URL of plain HTTP."""
    server = settings.server
    is_plain = server.public_url.lower().startswith("http://")
    has_proxy = server.trusted_proxies > 0
    if bool(server.certificate) != bool(server.key):
        missing = "key" if server.certificate else "certificate"
        yield f"server.{missing}: TLS needs a certificate and its key. Set both, or neither"
    if server.certificate and is_plain and not has_proxy:
        why = "with a certificate the server speaks TLS only. Write https://, or set no certificate"
        yield f"server.public_url: it begins with http://, and {why}"
    if settings.access.require_https and is_plain and has_proxy:
        why = "so everybody is sent to where no credential is taken. Write https://"
        yield f"access.require_https: server.public_url begins with http://, {why}"


def _cookie_errors(settings: Settings) -> Iterator[str]:
    """Yield why sessions would not work, or would not be safe."""
    server = settings.server
    resource = settings.google.access_token.resource
    setting = "sign_in" if settings.sign_in else "access.cookie_login"
    keys_location = settings.access.credentials_store or settings.store.location

    # whoever may read the bucket of the resource can sign in, so many people may read it
    are_buckets = is_bucket(keys_location) and is_bucket(resource)
    if are_buckets and parse_location(keys_location).root == parse_location(resource).root:
        yield (
            f"{setting}: whoever may read the bucket of google.access_token.resource could "
            " read the key of all sessions there, and sign in as anybody. Set "
            "access.credentials_store to a place of its own"
        )
    if server.read_only:
        why = "who signs in and out is written to the store, and server.read_only forbids that"
        yield f"{setting}: {why}. Leave one of the two out"
    is_direct = server.is_loopback and not server.trusted_proxies
    if settings.sign_in and not (server.public_url or is_direct):
        yield (
            "sign_in: providers send people back to an address that they know, so the server has "
            "to know it. Set server.public_url, such as https://packages.example.com"
        )
    elif not (server.public_url or server.certificate or is_direct):
        yield (
            "access.cookie_login: a cookie is made for https or for plain http, so the server has "
            "to know what browsers use. Set server.public_url, such as https://packages.example.com"
        )


def _sign_in_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with each `[[sign_in]]` table, and with all of them together."""
    providers = settings.sign_in_providers
    for number, provider in enumerate(providers, 1):
        if provider.problem:
            key, why = provider.problem
            yield f"sign_in {number}.{key}: {why}"
    if len({provider.name for provider in providers}) < len(providers):
        yield "sign_in.name: two tables have the same. Change one"
    if providers and settings.iap.audience:
        why = "behind Identity-Aware Proxy everybody is signed in already"
        yield f"sign_in: {why}. Leave it out, or iap.audience"


def _publishing_errors(settings: Settings) -> Iterator[str]:
    """Yield a sentence if the ID tokens of jobs and of people have an audience in common."""
    audiences_of_people = set(settings.google.id_token.audience)
    audiences_of_people.update(settings.iap.audience)
    shared_audiences = audiences_of_people.intersection(settings.trusted_publishing.audience)
    if shared_audiences:
        why = "so that a job's ID token could pass for a user's. Use different ones"
        audience = quote_safely(min(shared_audiences))
        fault = f"{audience} is the audience of google.id_token or iap as well"
        yield f"trusted_publishing.audience: {fault}, {why}"


def _upstream_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with `[upstream]` and its tables, unless upstream indexes are off."""
    upstream = settings.upstream
    if upstream.is_on:
        yield from _index_errors(upstream, settings.base_url)
        yield from _upstream_contradictions(settings)
        for number, index in enumerate(upstream.indexes, 1):
            place = f"upstream.index {number}" if upstream.index else "upstream"
            for key, why in _connection_errors(index, upstream):
                yield f"{place}.{key}: {why}"


def _index_errors(upstream: UpstreamSettings, own_url: str) -> Iterator[str]:
    """Yield what is wrong with the upstream indexes together, for a server at `own_url`."""
    if not upstream.indexes:
        why = "Set url to the Simple API of the index whose packages are meant; there is no default"
        yield f"upstream.enabled: no upstream index is named. {why}"
    misplaced_keys = list[str]()
    if upstream.index:
        misplaced_keys += [name for name in OF_ONE_INDEX if getattr(upstream, name)]
    if misplaced_keys:
        why = "Write it into one of the [[upstream.index]] tables"
        yield f"upstream.{misplaced_keys[0]}: there are several upstream indexes. {why}"
    # in layers and in variables, the labels `a-b` and `a_b` are the same
    labels = [index.layer for index in upstream.indexes]
    urls = [index.url.rstrip("/").lower() for index in upstream.indexes]
    for key, values in (("label", labels), ("url", urls)):
        if len(set(values)) < len(values):
            yield f"upstream.index.{key}: two tables have the same. Change or remove one"
    layers_of_server = (MAIN, UPSTREAM_LAYER) if upstream.index else (MAIN,)
    for label in labels:
        if label in layers_of_server:
            yield f"upstream.index.label: {label_taken(label, 'a layer that is always there')}"
    if any(f"{url}/".startswith(f"{own_url.lower()}/") for url in urls):
        yield "upstream.url: it is this index itself. Name another one"


def _upstream_contradictions(settings: Settings) -> Iterator[str]:
    """Yield a sentence if `min_cvss` is set without a database of vulnerabilities."""
    upstream = settings.upstream
    if upstream.min_cvss and not upstream.osv:
        why = "Name the file or folder of vulnerabilities in osv"
        yield f"upstream.min_cvss: there is nothing to compare with. {why}"


def _connection_errors(
    index: UpstreamIndexSettings, upstream: UpstreamSettings
) -> Iterator[tuple[str, str]]:
    """Yield the key of each setting that would make a connection unsafe, and why."""
    if index.google and (index.username or index.password):
        yield "google", "it sends this machine's credentials. Leave username and password out"
    if index.password and not index.username:
        yield "password", "there is no username. Set both; for a token it may be any name"
    parts = urlsplit(index.url)
    if parts.scheme == "https":
        return
    # from here on the URL is one of plain HTTP
    if index.google:
        yield "google", "Google's credentials are not sent over plain HTTP. Write https://"
    elif not (upstream.allow_insecure or _is_allowed_loopback(parts.hostname or "", upstream)):
        why = (
            "over plain HTTP others can change what is installed here. Write https://; for a "
            "server of this machine list its address in allow_private_networks; or set "
            "allow_insecure"
        )
        yield "url", why


def _is_allowed_loopback(host: str, upstream: UpstreamSettings) -> bool:
    """Return whether a host is this machine, by an address in `allow_private_networks`."""
    if not is_loopback(host):
        return False
    # the name localhost may lead to either address
    addresses = ["127.0.0.1", "::1"] if host == "localhost" else [host]
    for text in upstream.allow_private_networks:
        network = ip_network(text)
        if any(ip_address(address) in network for address in addresses):
            return True
    return False


def warnings_for(settings: Settings) -> list[Caution]:
    """Return the warnings that follow from the settings alone."""
    return list(
        chain(
            _listener_warnings(settings), _location_warnings(settings), _upstream_warnings(settings)
        )
    )


def access_warnings(settings: Settings, grants: Grants) -> list[Caution]:
    """Return the warnings that follow from the settings and from the grants in force."""
    warnings = list(_credentials_warnings(settings, grants))
    for grant in grants.all:
        warnings += _grant_warnings(settings, grant)
    return warnings


def stored_grant_warnings(
    settings: Settings, grant: Grant, grants: Grants, open_indexes: Collection[str]
) -> Iterator[Caution]:
    """
    Yield a warning for each way in which a new grant does something unexpected.

    `grants` has all grants in force. `open_indexes` are the names of the indexes that anybody may
    read.
    """
    for name in sorted(grant.who):
        if name.startswith(("token:", "publisher:")):
            yield Caution(f"{name} has a scope of its own, and no grant gives it anything")
    for name in sorted(groups_in(grant.who)):
        if not grants.groups.get(name):
            yield Caution(
                f"{grant} gives nobody anything by group:{name} now, which has no members.",
                Advice(Remedy.ADD_TO_GROUP, name),
            )
    already_open = tuple(index for index in sorted(open_indexes) if grant.scope.holds_in(index))
    if already_open and ANONYMOUS not in grant.who:
        yield Caution(
            f"anybody may read {describe_indexes(already_open)} all the same: the grant closes "
            "nothing; for main set access.private, and give another index read=granted"
        )
    for open_grant in _grants_to_everybody(grants):
        if open_grant.id != grant.id and intersection(grant.scope, [open_grant.scope]):
            yield Caution(
                f"anybody may read every project all the same, by {open_grant}.",
                Advice(Remedy.REVOKE_GRANT, open_grant.id),
            )
    access = settings.access
    has_users_with_rights = bool(access.htpasswd_file and access.htpasswd_may)
    is_about_closed_main = grant.scope.holds_in(MAIN) and MAIN not in open_indexes
    if has_users_with_rights and is_about_closed_main:
        actions = describe_actions(parse_actions(access.htpasswd_may))
        yield Caution(
            f"every name in access.htpasswd_file may {actions} every project in the index main "
            "all the same, by access.htpasswd_may"
        )
    if settings.store.downloads == "public" and grant.scope.indexes != (MAIN,):
        yield Caution("whoever knows the URL of a file gets it from the public bucket all the same")
    yield from _grant_warnings(settings, grant)


def accepts_other_credentials(settings: Settings) -> bool:
    """Return whether passwords, static tokens or credentials of a provider are accepted."""
    access = settings.access
    google = settings.google
    of_google = google.id_token.audience or google.access_token.resource or settings.iap.audience
    files = access.htpasswd_file or access.static_tokens_file
    return bool(files or access.static_token or of_google or settings.sign_in)


def without_advisories(settings: Settings, name: str, keys: RuleKeys) -> Iterator[Caution]:
    """Yield a warning if the rules of an index need vulnerabilities, and no database has them."""
    upstream = settings.upstream
    if keys.min_cvss and upstream.is_on and not upstream.osv:
        yield Caution(
            f"the index {name} has min_cvss, and nobody knows the vulnerabilities of public "
            "packages, so that it shows none of them: set upstream.osv"
        )


def is_reachable(settings: Settings) -> bool:
    """Return whether programs of other machines can reach the server."""
    server = settings.server
    public_host = urlsplit(server.public_url).hostname or "localhost"
    # a proxy or a tunnel of this machine forwards requests of others to the server
    has_proxy = server.trusted_proxies > 0 or not is_loopback(public_host)
    return has_proxy or not server.is_loopback


def _listener_warnings(settings: Settings) -> Iterator[Caution]:
    """Yield a warning if other machines reach the server, and may change or read too much."""
    server = settings.server
    access = settings.access
    if not is_reachable(settings):
        return
    if access.anonymous_uploads:
        yield Caution("anyone who can reach this address may publish under any name")
    is_plain = not server.public_url.startswith("https://") and not access.require_https
    is_exposed = not server.is_loopback or server.public_url
    if is_exposed and is_plain and not server.certificate:
        yield Caution(
            "credentials may come over plain HTTP, where others can read them; put a proxy that "
            "ends TLS before the server, and set access.require_https; or set server.certificate "
            "and server.key"
        )


def _credentials_warnings(settings: Settings, grants: Grants) -> Iterator[Caution]:
    """Yield a warning if rights are given, and whoever may write packages can make tokens."""
    store = settings.store
    if grants.all and is_bucket(store.location) and not settings.access.credentials_store:
        yield Caution(
            f"tokens lie in the bucket of the packages, {store.location}: whoever may write there "
            "past the index can make one; give them a place in access.credentials_store"
        )


def _grant_warnings(settings: Settings, grant: Grant) -> Iterator[Caution]:
    """Yield a warning for each way in which a grant gives more or less than it seems to."""
    if ANONYMOUS in grant.who - grant.principals:
        yield Caution(
            f"{grant} gives nobody anything by {ANONYMOUS}: access.private is set, which closes "
            "every index"
        )
    yield from provider_warnings(settings, str(grant), grant.principals)
    only_approves = grant.scope.actions & (Action.APPROVE | Action.ADMIN) == Action.APPROVE
    if only_approves and not grant.scope.holds_in(MAIN):
        yield Caution(
            f"{grant} gives no right to approve, as it is not about main: what is decided about "
            "public packages counts in all indexes"
        )
    if ALL_AUTHENTICATED in grant.principals:
        yield from _open_provider_warnings(settings, grant)


def _open_provider_warnings(settings: Settings, grant: Grant) -> Iterator[Caution]:
    """Yield a warning for each provider at which anybody gets what a grant gives."""
    # anybody can make an account at Google
    google = settings.google.id_token
    if google.audience and not google.allowed_domains:
        why = "name yours in google.id_token.allowed_domains"
        yield Caution(
            f"{grant} is for {ALL_AUTHENTICATED}, which is every Google account there is; {why}"
        )
    for provider in settings.sign_in_providers:
        if provider.is_open_to_all:
            yield Caution(
                f"{grant} is for {ALL_AUTHENTICATED}, which is every account there is at "
                f"{urlsplit(provider.issuer).hostname}; say in require of [[sign_in]] who may "
                'sign in, such as { hd = "acme.dev" } with Google, or { organizations = "acme" } '
                "with GitHub"
            )


def provider_warnings(
    settings: Settings, holder: str, principals: Iterable[str]
) -> Iterator[Caution]:
    """
    Yield a warning for each principal of a provider that nobody can have.

    `holder` is the grant or the group that names the principals.
    """
    providers = {provider.name: provider for provider in settings.sign_in_providers}
    for principal in sorted(principals):
        kind, _, name_at_provider = principal.partition(":")
        if kind != "oidc":
            continue
        name, _, person_or_group = name_at_provider.partition(":")
        provider = providers.get(name)
        if provider is None:
            why = f"the settings have no [[sign_in]] of this name; correct it, or add {name}"
            yield Caution(f"{holder} gives nobody anything by {principal}: {why}")
        elif person_or_group.startswith("group:") and not provider.has_groups:
            why = f"{name} says no groups; name the claim that has them in groups_claim"
            yield Caution(f"{holder} gives nobody anything by {principal}: {why}")


def _location_warnings(settings: Settings) -> Iterator[Caution]:
    """Yield a warning if credentials or keys of sessions are in a bucket of the packages."""
    store = settings.store
    credentials_store = settings.access.credentials_store
    if not is_bucket(store.location):
        return
    if settings.access.cookie_login and not credentials_store:
        yield Caution(
            f"the keys of sessions lie in the bucket of the packages, {store.location}: whoever "
            "may read there past the index can sign in as anybody; give them a place in "
            "access.credentials_store"
        )
    package_buckets = {parse_location(store.location).root}
    if store.files:
        package_buckets.add(parse_location(store.files).root)
    if is_bucket(credentials_store) and parse_location(credentials_store).root in package_buckets:
        yield Caution(
            "access.credentials_store is in a bucket of the packages, so who may write to that "
            "bucket can make a token, unless an IAM condition on the names of objects forbids it"
        )


def _upstream_warnings(settings: Settings) -> Iterator[Caution]:
    """Yield a warning for each way in which a public package could take a private one's place."""
    if not settings.upstream.is_on:
        return
    for index in settings.upstream.indexes:
        if index.password and index.url.lower().startswith("http://"):
            why = "is sent over plain HTTP, where others can read it; write https://"
            yield Caution(f"the password for the upstream index {index.label} {why}")
    upstream = settings.upstream
    is_decided = upstream.allow or upstream.i_have_no_private_prefix
    if not settings.upstream_private and not is_decided:
        yield Caution(
            "no name is said to be private, so each name that nothing is published under here is "
            "looked up at the upstream index; list what the names of your own packages begin with "
            'in upstream.private, as ["acme", "acme-*"], or set i_have_no_private_prefix'
        )
    patterns = parse_name_patterns(settings.upstream_private)
    for text in patterns.texts:
        # it is easily overlooked that acme-* does not match acme, a name that anybody may publish
        name = text.removesuffix("-*")
        is_prefix_alone = name != text and "*" not in name and "?" not in name
        if is_prefix_alone and not patterns.match(NormalizedName(name)):
            yield Caution(
                f"{text} in upstream.private does not match {name}, which is looked up at the "
                f"upstream index; if it is yours, too, add {name}"
            )
    if "*" in settings.upstream.shadow:
        why = "so every public name can be taken over by an upload; name the projects instead"
        yield Caution(f"upstream.shadow has *, {why}")
