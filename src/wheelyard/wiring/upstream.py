"""
Builds the upstream indexes from the settings.

This module is only imported if `[upstream]` is enabled: else no module of `upstream/` is loaded.
"""

from contextlib import closing
from dataclasses import replace as replace_fields
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import CachePolicy, DocumentCache
from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.catalog.licence_finder import LICENCES, LicenceFinder
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.private_names import PrivateNames
from wheelyard.catalog.version_notes import VersionNotes
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import UPSTREAM_UNAVAILABLE, Invalid, Unavailable
from wheelyard.http_client.client import ca_file_fault, tls_context
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import UserPassword, parse_url
from wheelyard.model.access import NameFilter, NamePatterns, parse_name_patterns
from wheelyard.model.decoding import escaped
from wheelyard.model.rule_keys import parse_exceptions, rule_keys_in
from wheelyard.operations.names import NameClaims
from wheelyard.settings.sections import MIB, Settings
from wheelyard.settings.upstream_section import UpstreamIndexSettings, UpstreamSettings
from wheelyard.settings.value_checks import bad_setting
from wheelyard.storage.base import Store
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.location import is_bucket
from wheelyard.storage.spool import Spool
from wheelyard.upstream.chain import UpstreamChain
from wheelyard.upstream.file_hosts import find_file_hosts
from wheelyard.upstream.hidden_pages import HiddenPages
from wheelyard.upstream.indexes import UpstreamIndex
from wheelyard.upstream.kept_folders import KeptFolders
from wheelyard.upstream.observation import Observation
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.page_lookup import StoredPages
from wheelyard.upstream.pages import UpstreamPages
from wheelyard.upstream.policy.first_uses import FIRST_USES, FirstUses
from wheelyard.upstream.policy.osv_source import AcceptedOsvRecord, OsvSource
from wheelyard.upstream.policy.page_licences import MetadataReader, PageLicences
from wheelyard.upstream.policy.page_provenances import PageProvenances
from wheelyard.upstream.policy.policy import Policy
from wheelyard.upstream.policy.sidecar_facts import SidecarFacts
from wheelyard.upstream.request_log import RequestLog
from wheelyard.upstream.settings import UpstreamConfig, UpstreamServer, is_outage
from wheelyard.upstream.sidecars import core_metadata_of, provenance_of
from wheelyard.upstream.upstream_client import UpstreamClients
from wheelyard.upstream.upstream_files import FileRules, UpstreamFiles
from wheelyard.wiring.attestation_building import build_public_verifiers
from wheelyard.wiring.stores import StoreTraits, cache_policy_in, upstream_store

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier

START_SECONDS: Final = 10.0
"""The longest silence of an upstream index, in seconds, that a start waits for."""
SAVING_THREADS: Final = 8
"""How many pages a process stores at a time."""
_HOSTS_ARE_UNKNOWN: Final = (
    "So it is not known which hosts its files are on. Each worker asks again with the first "
    "page that it reads, and logs the answer; or name them in upstream.file_hosts, which is [] "
    "for its own host alone."
)
"""Ends the sentence to an operator after an upstream index has shown no hosts of files."""


def build_upstream(
    settings: Settings,
    catalog: Catalog,
    spool: Spool,
    runtime: Runtime,
    traits: StoreTraits,
    names: PrivateNames,
) -> UpstreamIndex:
    """
    Return the upstream indexes that the settings name, without a connection to them.

    `names` are the private names. Raises Invalid (code `bad_setting`) if `upstream.ca_file` or the
    bucket of `upstream.bucket` cannot be used, or a rule is wrong. Raises Unavailable if a folder
    of `upstream.bucket` cannot be used, or there are no credentials for the bucket.
    """
    upstream = settings.upstream
    is_read_only = settings.server.read_only
    _require_ca_file(upstream)
    caching = cache_policy_in(traits, settings.store)

    store = _open_upstream_store(settings, catalog, traits)
    config = upstream_config(settings)
    # the files of an upstream index may be in the folder of a label that it had before
    store = KeptFolders(store, [server.id for server in config.servers])
    is_store_local = traits.is_local and not is_bucket(upstream.bucket)
    observation = Observation(runtime)
    clients = UpstreamClients(config, runtime, observation)

    # no request waits until a page is stored; a process that dies asks for the page again
    start_saving = DaemonThreads(SAVING_THREADS, "upstream").start
    files = UpstreamFiles(
        store, spool, clients, catalog.retries, observation, _file_rules(settings)
    )
    pages = UpstreamPages(config, clients, StoredPages(store), runtime, observation, start_saving)

    def read_metadata(page: UpstreamPage, file: UpstreamFile) -> bytes:
        return files.bring_sidecar(core_metadata_of(page, file))

    policy = build_policy(
        upstream,
        store,
        catalog.decision_records,
        read_metadata,
        PageProvenances(_KeptProvenances(settings, files), runtime.monotonic),
        caching,
        is_read_only=is_read_only,
    )
    return UpstreamIndex(
        config=config,
        names=names,
        clients=clients,
        pages=UpstreamChain(pages, clients),
        hidden_pages=HiddenPages(config, clients, runtime),
        files=files,
        policy=policy,
        observation=observation,
        requests=RequestLog(catalog.request_records, runtime, is_off=is_read_only),
        runtime=runtime,
        is_local=is_store_local,
    )


def _open_upstream_store(settings: Settings, catalog: Catalog, traits: StoreTraits) -> Store:
    """Return the store in which pages and files of upstream indexes are kept."""
    store = upstream_store(settings, catalog.stores, traits.operation_counter)
    if settings.server.read_only:
        return ReadOnlyStore(store)
    return store


def _require_ca_file(settings: UpstreamSettings) -> None:
    """Raise Invalid (code `bad_setting`) if `upstream.ca_file` is set, and cannot be used."""
    if not settings.ca_file:
        return
    # at the start, whose errors an operator reads, and not with the first request
    try:
        tls_context(settings.ca_file)
    except OSError as error:
        why = ca_file_fault(error)
        message = f"upstream.ca_file: {escaped(settings.ca_file)} cannot be used: {why}"
        raise bad_setting(message) from error


def _file_rules(settings: Settings) -> FileRules:
    """Return the rules by which files of upstream indexes are sent and kept."""
    upstream = settings.upstream
    mode = upstream.files
    if settings.server.read_only:
        mode = "proxy"
    # offline, no file can be passed on, and kept files are sent
    if upstream.offline:
        mode = "cache"
    max_kept_bytes: int | None = None
    if upstream.max_cache_file_mb:
        max_kept_bytes = upstream.max_cache_file_mb * MIB
    return FileRules(mode=mode, max_kept_bytes=max_kept_bytes)


class _KeptProvenances(Struct, frozen=True):
    """
    Reads the provenance of public files, and builds its verifiers, as the settings say.

    It is the `ProvenanceSource` of a server.
    """

    settings: Settings
    files: UpstreamFiles

    @property
    def is_offline(self) -> bool:
        """Whether no provenance is fetched from an upstream index."""
        return self.settings.upstream.offline

    def read(self, page: UpstreamPage, file: UpstreamFile) -> bytes:
        """
        Return the provenance of a file, from the store or from its upstream index.

        Raises NotFound if the file has no provenance. Raises Unavailable if the store or the
        upstream index does not answer.
        """
        return self.files.bring_sidecar(provenance_of(page, file))

    def forget(self, page: UpstreamPage, file: UpstreamFile) -> None:
        """Remove the provenance of a file from the store, so that it is fetched again."""
        self.files.forget_sidecar(provenance_of(page, file))

    def build_verifiers(self) -> "tuple[AttestationVerifier, ...]":
        """Return the verifiers of attestations of public files."""
        return build_public_verifiers(self.settings)


def with_file_hosts(
    settings: Settings, runtime: Runtime, *, is_optional: bool
) -> tuple[Settings, str]:
    """
    Ask the one upstream index of the settings which hosts its files are on.

    Returns the settings with these hosts, and a sentence that tells an operator of the result. The
    settings are returned unchanged if the upstream index shows no file yet. With `is_optional`,
    they are returned unchanged, too, if it does not answer, or does not show that it is an index.
    Then each process asks it again with the first page that it reads.

    Without `is_optional`, raises Unavailable (code `upstream_unavailable`) if the upstream index
    does not answer. Raises Invalid (code `bad_setting`) if the upstream index, or a host of its
    files, cannot be used.
    """
    config = upstream_config(settings)
    if is_optional:
        config = _with_start_timeouts(config)
    clients = UpstreamClients(config, runtime, Observation(runtime))
    (client,) = clients.in_order
    place = client.server.url.redacted
    with closing(clients):
        try:
            file_hosts = find_file_hosts(client, runtime.now())
        except FetchError as fault:
            if is_outage(fault):
                why = f"The upstream index {place} does not answer: {fault.why}."
                if not is_optional:
                    message = f"{why} Try again, or start without it."
                    raise Unavailable(message, code=UPSTREAM_UNAVAILABLE) from None
                return settings, f"{why} {_HOSTS_ARE_UNKNOWN}"
            if is_optional and not fault.is_refused:
                why = f"{place} has not shown that it is an index: {fault.why}."
                return settings, f"{why} {_HOSTS_ARE_UNKNOWN}"
            why = f"{place} cannot be used as an upstream index: {fault.why}"
            if not fault.is_refused:
                why += ". If it is one without a list of its projects, write url and file_hosts of "
                why += "[upstream] into the settings file"
            raise bad_setting(f"upstream.url: {why}") from None
    if file_hosts is None:
        why = f"The upstream index {place} shows no file yet on the pages that are asked for here."
        return settings, f"{why} {_HOSTS_ARE_UNKNOWN}"
    upstream = replace(settings.upstream, file_hosts=file_hosts.hosts)
    return replace(settings, upstream=upstream), file_hosts.sentence(place)


def _with_start_timeouts(config: UpstreamConfig) -> UpstreamConfig:
    """Return a configuration with which no upstream index is waited for long at a start."""
    servers = list[UpstreamServer]()
    for server in config.servers:
        timeout = min(server.timeout, START_SECONDS)
        servers.append(replace_fields(server, timeout=timeout))
    return replace(config, servers=tuple(servers))


def name_claims(upstream: UpstreamIndex, settings: UpstreamSettings) -> NameClaims:
    """Return the rules by which an upload may take a new name."""
    return NameClaims(
        names=upstream.names,
        upstream=upstream.pages,
        shadow=parse_name_patterns(settings.shadow),
        asks_upstream=settings.check_upload,
    )


def upstream_config(settings: Settings) -> UpstreamConfig:
    """Return the configuration of the upstream indexes and of the connections to them."""
    upstream = settings.upstream
    servers = tuple(_upstream_server(index) for index in upstream.indexes)
    private_networks = tuple(ip_network(network) for network in upstream.allow_private_networks)
    return UpstreamConfig(
        servers=servers,
        private=parse_name_patterns(settings.upstream_private),
        max_stale=upstream.max_stale,
        allow_private_networks=private_networks,
        allow_insecure=upstream.allow_insecure,
        ca_file=upstream.ca_file,
        trust_env=upstream.trust_env,
        offline=upstream.offline,
        keep_removed=upstream.keep_removed,
        read_only=settings.server.read_only,
        contact=settings.server.public_url,
    )


def _upstream_server(index: UpstreamIndexSettings) -> UpstreamServer:
    """Return the address of an upstream index, and how requests are sent to it."""
    login: UserPassword | None = None
    if index.username:
        login = UserPassword(index.username, index.password)
    return UpstreamServer(
        url=parse_url(index.url.rstrip("/") + "/"),
        label=index.layer,
        file_hosts=index.file_hosts,
        login=login,
        google=index.google,
        names=_name_filter(index),
        page_ttl=index.page_ttl,
        timeout=index.timeout,
    )


def _name_filter(index: UpstreamIndexSettings) -> NameFilter:
    """Return the filter of the names that an upstream index is asked for."""
    # None allows every name, and an empty list no name
    allow: NamePatterns | None = None
    if index.allow is not None:
        allow = parse_name_patterns(index.allow)
    return NameFilter(allow, parse_name_patterns(index.deny))


def build_policy(  # noqa: PLR0913 - all that it depends on
    settings: UpstreamSettings,
    store: Store,
    decisions: DecisionRecords,
    read_metadata: MetadataReader,
    provenances: PageProvenances,
    caching: CachePolicy,
    *,
    is_read_only: bool,
) -> Policy:
    """
    Return the policy of the settings.

    `store` has the objects below `upstream/`. The database of `osv` is not read before
    `Policy.load`. `read_metadata` and `provenances` are called only if a rule needs them. Raises
    Invalid (code `bad_setting`) for a wrong rule.
    """
    runtime = decisions.commits.runtime
    retries = decisions.commits.retries
    osv: OsvSource | None = None
    if settings.osv:
        # the database that was accepted last stays in force while a newer one is broken
        accepted_record = AcceptedOsvRecord(store)
        osv = OsvSource(Path(settings.osv), settings.min_cvss, runtime.monotonic, accepted_record)

    # a read costs a request to the store: each document is read only if a rule needs it
    licence_documents = DocumentCache(store, LICENCES, runtime, caching)
    first_use_documents = DocumentCache(store, FIRST_USES, runtime, caching)
    noted_licences = VersionNotes(keys.UPSTREAM_LICENCES, "releases", licence_documents, retries)
    noted_uses = VersionNotes(keys.UPSTREAM_FIRST_USES, "projects", first_use_documents, retries)
    licences = PageLicences(LicenceFinder(noted_licences), read_metadata)
    exceptions = parse_exceptions(settings.cooldown_allow)
    try:
        name_filters = tuple(_name_filter(index) for index in settings.indexes)
        return Policy(
            rule_keys_in(settings),
            name_filters,
            decisions,
            SidecarFacts(licences, provenances),
            FirstUses(exceptions, noted_uses, is_read_only),
            osv,
        )
    except Invalid as fault:
        # the error has the key of the rule, without the table of the settings that it is in
        raise Invalid(f"upstream.{fault.message}", code=fault.code) from fault
