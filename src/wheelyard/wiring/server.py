"""
The parts that all indexes of a process share: stores, credentials, threads and settings.

A part that few callers need is made when a caller asks for it, and its module is imported only
then.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.known_people import KnownPeople
from wheelyard.authentication.sessions import Sessions
from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.index_journals import IndexJournals
from wheelyard.catalog.journaled_documents import DecisionRecords, JournaledDocument
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.package_request_list import RequestRecords
from wheelyard.catalog.person_records import PeopleRecords
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.model.access import Caller, describe_principal, parse_name_patterns
from wheelyard.model.brand import Brand
from wheelyard.model.grants import GrantFields, describe_fields, describe_grant
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexList
from wheelyard.model.stored_namespaces import Namespace
from wheelyard.operations.access_control import AccessControl, AddedGrant
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.operations.index_warnings import grant_warnings
from wheelyard.operations.namespaces import Namespaces, namespaces_of_patterns
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.operations.webhook_endpoints import WebhookEndpoints
from wheelyard.operations.webhooks import Webhooks
from wheelyard.remedies import Caution
from wheelyard.settings.sections import SettingPath, Settings
from wheelyard.settings.validation import stored_grant_warnings
from wheelyard.storage.base import Stores
from wheelyard.storage.forwarding import StoreMetrics
from wheelyard.storage.spool import Spool
from wheelyard.wiring.attestation_building import build_verifier
from wheelyard.wiring.authentication import build_publishers
from wheelyard.wiring.built_index import BuildIndex, IndexT
from wheelyard.wiring.index_registry import Indexes
from wheelyard.wiring.stores import StoreTraits, upstream_store

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier
    from wheelyard.downloads.reading import LastDownloads
    from wheelyard.operations.applied_files import AppliedFiles
    from wheelyard.operations.applying import Applying
    from wheelyard.operations.check_store import Check
    from wheelyard.operations.index_administration import IndexAdministration
    from wheelyard.operations.merged_journal import JournalGaps, MergedJournal
    from wheelyard.operations.people import PeopleAdministration
    from wheelyard.operations.publishers import Publishers
    from wheelyard.operations.requirements import RequirementCheck
    from wheelyard.operations.server_state import ServerState
    from wheelyard.operations.sweep import Sweep
    from wheelyard.retention.runs import RetainedIndex, Retention
    from wheelyard.upstream.kept_files import KeptSize
    from wheelyard.webhooks.metrics import WebhookMetrics
    from wheelyard.webhooks.sender import WebhookSender

REMOTE_CHECK_THREADS: Final = 16
"""The number of projects that `check` verifies concurrently in a bucket."""


class Server(Struct, Generic[IndexT], kw_only=True, dict=True, eq=False):
    """
    A store with all of its indexes, in a process that serves them, or in that of a command.

    Threads may share it.
    """

    settings: Settings
    sources: Mapping[SettingPath, str] = MappingProxyType({})
    """Where each setting that is no default comes from: a file, a variable, an option."""
    runtime: Runtime
    spool: Spool
    traits: StoreTraits
    store_metrics: StoreMetrics
    """The durations and results of the operations on the store."""
    caching: CachePolicy
    """How documents are cached."""
    catalog: Catalog
    """The catalog of main, which has the records that all indexes share."""
    gives_serials: bool
    """Whether this process may give serials to changes."""
    clock: StoreClock
    access: AccessControl
    publishing_cleanup: PublishingCleanup
    authenticator: Authenticator
    """Each index has a copy with a policy of its own. The policy of this one opens no index."""
    sessions: Sessions
    """Each index has a copy that asks its own authenticator."""
    brand: Brand
    definitions: IndexDefinitions
    """The definitions of all indexes."""
    serves: bool
    """Whether this process serves the indexes."""
    make_builder: "Callable[[Server[IndexT]], BuildIndex[IndexT]]"
    """Returns the function that builds the indexes of a server."""
    state: "ServerState | None" = None
    """What the process knows of itself while it serves, or None in a command."""
    applied_files: "AppliedFiles | None" = None
    """The files that the process has applied at its start, or None without any."""

    @cached_property
    def indexes(self) -> Indexes[IndexT]:
        """All indexes of the store."""
        return Indexes(
            self.definitions,
            self.catalog,
            self.caching,
            self.runtime,
            self.make_builder(self),
            is_local=self.is_local,
        )

    def last_downloads(self, days: int) -> "LastDownloads | None":
        """
        Return when each version was last downloaded in the last days, from any index.

        The counts of all indexes are read, as an index may show the files of another. None means
        that downloads are not counted. Raises Unavailable if the store does not answer, or counts
        are damaged.
        """
        if not self.settings.downloads.count:
            return None
        # no module of download counts is loaded while they are off
        from wheelyard.downloads.reading import LastDownloads

        downloads = list[LastDownloads]()
        for index in self.indexes.all():
            if index.downloads is not None:
                downloads.append(index.downloads.last_downloads(days))
        return LastDownloads.joined(downloads)

    @property
    def retention(self) -> "Retention | None":
        """
        The operation that deletes old releases by the stored rules, or None without rules.

        Raises Unavailable if the store does not answer, or only a newer version knows the rules.
        """
        # never from a cache: deletions by a rule that was changed cannot be undone
        indexes = self.definitions.snapshot("current")
        if indexes.value is None or indexes.value.retention is None:
            return None
        # no module of retention is loaded while there is no rule
        from wheelyard.model.retention_rules import stored_rules
        from wheelyard.retention.known_rules import RulesRecord
        from wheelyard.retention.runs import Retention

        return Retention(
            rules=stored_rules(indexes.value.retention),
            rules_record=RulesRecord(self.stores.documents, self.clock, indexes, self.retries),
            indexes=self._retained_index,
            documents=self.stores.documents,
            clock=self.clock,
            requirements=self._requirements_for,
            is_local=self.is_local,
            is_read_only=self.settings.server.read_only,
        )

    def _retained_index(self, name: str) -> "RetainedIndex":
        """Return an index as rules of retention see it. Raises NotFound if it is not served."""
        return self.indexes.get(name).as_retained()

    def _requirements_for(self, caller: Caller) -> "RequirementCheck":
        """Return the check of requirements for a caller with the same rights in all indexes."""

        def caller_in(_index: IndexT) -> Caller:
            return caller

        return self.requirements(caller_in)

    def requirements(self, caller_in: Callable[[IndexT], Caller]) -> "RequirementCheck":
        """
        Return the check that finds requirements which no index of the store shows any more.

        `caller_in` returns the caller with the rights in an index.
        """
        # only changes of releases need it
        from wheelyard.wiring.requirement_building import requirement_check

        return requirement_check(self.indexes.all, caller_in, self.catalog.files, self.settings)

    @property
    def is_new(self) -> bool:
        """Whether this process has just created the store."""
        return self.catalog.is_new

    @property
    def stores(self) -> Stores:
        """The stores with all objects."""
        return self.catalog.stores

    @property
    def removal(self) -> FileRemoval:
        """The operation that deletes the bytes of files."""
        # a deleted file must not stay in a bucket that everybody can read
        is_public = self.settings.store.downloads == "public"
        return FileRemoval(self.stores, self.clock, keeps_deleted=not is_public)

    @property
    def retries(self) -> ConflictRetries:
        """Repeats a write that has lost a race against another process."""
        return self.catalog.retries

    @property
    def decisions(self) -> DecisionRecords:
        """The decisions about public packages, also if no upstream index is configured."""
        return self.catalog.decision_records

    @property
    def package_requests(self) -> RequestRecords:
        """The requests for hidden public packages, also if no upstream index is configured."""
        return self.catalog.request_records

    @property
    def people(self) -> PeopleRecords:
        """The people who have signed in with a provider of `[[sign_in]]`."""
        return self.catalog.people

    @property
    def people_administration(self) -> "PeopleAdministration":
        """The operations of administrators on people of a provider."""
        # few servers have such people
        from wheelyard.operations.people import PeopleAdministration

        return PeopleAdministration(
            self.people, self.catalog.person_names, self.access, self.retries
        )

    @property
    def is_local(self) -> bool:
        """Whether the store is on this machine, so that reads need no worker thread."""
        return self.traits.is_local

    @property
    def check(self) -> "Check":
        """The check of the whole store."""
        # only commands need it
        from wheelyard.operations.check_store import Check, CredentialsCheck

        htpasswd = self.authenticator.htpasswd
        line_of_person = None
        if htpasswd is not None:
            line_of_person = htpasswd.line_of
        credentials_check = CredentialsCheck(
            self.stores.credentials,
            self.publishing_cleanup,
            self.sessions.records,
            self.catalog.outdated_lines,
            line_of_person,
            self.retries,
        )

        # a folder is as fast as its disk, and a bucket answers many requests at a time
        threads = REMOTE_CHECK_THREADS
        if self.is_local:
            threads = 1
        return Check(
            self.stores,
            self.spool,
            self.indexes.catalog_of,
            self.definitions,
            self.sweep,
            self.runtime,
            credentials_check,
            threads=threads,
        )

    @property
    def sweep(self) -> "Sweep":
        """The operation that finds and deletes the leftovers of uploads and deletions."""
        # only a check and the daily sweep need it
        from wheelyard.operations.sweep import Sweep

        return Sweep(self.stores, self.removal, self._prefetch_threads)

    @property
    def _prefetch_threads(self) -> int:
        """The number of documents that are read concurrently: in a folder, threads save no time."""
        if self.is_local:
            return 1
        return PREFETCH_THREADS

    @property
    def known_people(self) -> KnownPeople:
        """The people whom grants, tokens, passwords and providers name."""
        return KnownPeople(authenticator=self.authenticator)

    @property
    def index_administration(self) -> "IndexAdministration":
        """The operations that make, change and remove indexes."""
        # only administrators need it
        from wheelyard.operations.index_administration import IndexAdministration

        return IndexAdministration(
            in_force=self.definitions,
            projects=self.catalog.projects,
            files=self.removal,
            access=self.access,
            publishers=self.publishers,
            tokens=self.authenticator.tokens.records,
            runtime=self.runtime,
        )

    @property
    def applying(self) -> "Applying":
        """The operation that applies a file with indexes, rights, publishers and other tables."""
        # few processes apply files
        from wheelyard.operations.applying import Applying

        return Applying(
            self.index_administration,
            self.access,
            self.publishers,
            self.namespaces,
            self.webhooks,
            self.settings.access.private,
        )

    @property
    def publishers(self) -> "Publishers":
        """The trusted publishers, also if the settings have no audience, so no job gets a token."""
        trusted_publishing = self.authenticator.trusted_publishing
        # shared with the exchange of tokens, as it caches the publishers in force
        if trusted_publishing is not None:
            return trusted_publishing.publishers
        return build_publishers(self.settings, self.catalog, self.runtime)

    @cached_property
    def namespaces(self) -> Namespaces:
        """The namespaces of the store."""
        patterns = parse_name_patterns(self.settings.upstream_private).texts
        private_namespaces = namespaces_of_patterns(patterns)
        return Namespaces(
            self.catalog.namespace_records,
            self.runtime,
            self.access,
            private_namespaces,
            self._public_names_in,
            self._find_token_owner,
        )

    @cached_property
    def webhooks(self) -> Webhooks:
        """The webhooks of the store."""
        endpoints = WebhookEndpoints(
            self.catalog.webhook_secrets, self.settings.webhook_variables, self.runtime
        )
        return Webhooks(
            self.catalog.webhook_records,
            self.catalog.webhook_states,
            endpoints,
            self.runtime,
            self.index_journals,
            self.access_journals,
        )

    @cached_property
    def webhook_sender(self) -> "WebhookSender":
        """The sender of messages to webhooks."""
        # few servers have webhooks
        from wheelyard.model.webhook_messages import MessageUrls
        from wheelyard.webhooks.sender import WebhookSender

        return WebhookSender(
            self.webhooks.endpoints,
            self.settings.webhooks.allow_private_networks,
            MessageUrls(self.settings.base_url),
            self.runtime,
            self._describe_principal,
        )

    def _describe_principal(self, principal: str) -> str:
        """Return a principal in words; that of a token has the name of the token."""
        token_name = ""
        if principal.startswith("token:"):
            token_name = self.authenticator.tokens.records.name_of(principal)
        return describe_principal(principal, token_name)

    @cached_property
    def webhook_metrics(self) -> "WebhookMetrics":
        """The metrics of messages to webhooks."""
        # commands count nothing
        from wheelyard.webhooks.metrics import WebhookMetrics

        return WebhookMetrics()

    @cached_property
    def committed(self) -> Event:
        """Set by each commit of this process to a project of any index."""
        return Event()

    def index_journals(self) -> dict[str, IndexJournals]:
        """
        Return the journals and the feed of each index of the store, by its name.

        Raises Unavailable if the store does not say which indexes there are.
        """
        stored_indexes = self.definitions.snapshot("fresh").value or IndexList()
        created_by_name = {table.name: table.created for table in stored_indexes.tables}
        journals = dict[str, IndexJournals]()
        # also of indexes that are not served, as their layers are wrong: their journals go on
        for name in [MAIN, *sorted(self.definitions.names())]:
            catalog = self.indexes.catalog_of(name)
            journals[name] = IndexJournals(
                name, catalog.projects, catalog.changes, created_by_name.get(name)
            )
        return journals

    @property
    def access_journals(self) -> dict[str, JournaledDocument[Any, Any, Any]]:
        """The journals about rights, by names that no project has."""
        return {
            "-access": self.access.records,
            "-publishers": self.catalog.publisher_records,
            "-namespaces": self.catalog.namespace_records,
            "-indexes": self.catalog.index_records,
        }

    def _find_token_owner(self, principal: str) -> str:
        """
        Return the principal of the owner of a token, which is given as a principal.

        An empty text means that the principal is no token, or that no such token is stored. Raises
        Unavailable if the record of the token cannot be read.
        """
        if not principal.startswith("token:"):
            return ""
        record = self.catalog.token_records.find(principal.removeprefix("token:"))
        if record is None:
            return ""
        return record.owner

    def _public_names_in(self, namespace: Namespace) -> Sequence[NormalizedName]:
        """
        Return the public names in use that a namespace would make private, sorted.

        Raises Unavailable if the store does not answer.
        """
        upstream = self.indexes.main().upstream
        if upstream is None:
            return ()
        # only administrators need it
        from wheelyard.upstream.search_facts import PublicProjectList

        names = list[NormalizedName]()
        for name in PublicProjectList(upstream).versions():
            # a name that is private already loses no public package by the namespace
            if namespace.has(name) and not upstream.names.is_private(name):
                names.append(name)
        return sorted(names)

    @cached_property
    def attestation_verifier(self) -> "AttestationVerifier | None":
        """The verifier of uploaded attestations, or None if the settings accept none."""
        return build_verifier(self.settings)

    @cached_property
    def kept_size(self) -> "KeptSize":
        """
        The size of the stored public packages, also if no upstream index is configured.

        If none is configured, raises Invalid or Unavailable if `upstream.bucket` cannot be used.
        """
        # only administrators need it
        from wheelyard.upstream.kept_files import KeptSize

        upstream = self.indexes.main().upstream
        if upstream is not None:
            return KeptSize(upstream.files.store, self.runtime)
        # `[upstream]` is off now, but a server may have kept public packages while it was on
        store = upstream_store(self.settings, self.stores, self.traits.operation_counter)
        return KeptSize(store, self.runtime)

    @cached_property
    def journal_gaps(self) -> "JournalGaps":
        """The gaps of project journals in which a page of the merged journal has ended."""
        from wheelyard.operations.merged_journal import JournalGaps

        return JournalGaps()

    @property
    def merged_journal(self) -> "MergedJournal":
        """
        The journals of all indexes, rights and other tables as one journal.

        Raises Unavailable if the store does not say which indexes there are.
        """
        # only one operation reads it
        from wheelyard.operations.merged_journal import DECISIONS, MergedJournal

        journals = self.access_journals
        journals["-webhooks"] = self.catalog.webhook_records
        journals[DECISIONS] = self.decisions
        return MergedJournal(
            indexes=tuple(self.index_journals().values()),
            tokens=self.authenticator.tokens.records,
            documents=tuple(journals.items()),
            threads=self._prefetch_threads,
            gaps=self.journal_gaps,
        )

    @property
    def _open_indexes(self) -> frozenset[str]:
        """The names of the indexes that anybody may read."""
        if self.settings.access.private:
            return frozenset()
        definitions = self.definitions.load().with_main
        return frozenset(name for name, definition in definitions.items() if definition.is_open)

    def add_grant(self, fields: GrantFields, by: str) -> AddedGrant:
        """
        Add a grant, or find an equal one, and return it in words, with warnings.

        A warning says that the grant has no effect or too much of it by the settings, that it names
        people or indexes which are not there, or that it was revoked meanwhile. `by` is the
        principal who adds the grant.

        Raises Invalid for a wrong field. Raises Conflict for an unknown index or group (code
        `unknown_index` or `unknown_group`), or while an index of an earlier version is called main
        (code `index_in_use`). Raises Unavailable if the store does not answer.
        """
        self.index_administration.require_known(fields.index)
        grant_id = self.access.grant(fields, by)
        grants = self.access.load()
        for grant in grants.all:
            if grant.id == grant_id:
                warnings = list(
                    stored_grant_warnings(self.settings, grant, grants, self._open_indexes)
                )
                warnings += self.known_people.absent(grant.principals, "revoke the grant")
                warnings += grant_warnings(grant, self.definitions.served())
                return AddedGrant(grant_id, describe_grant(grant), tuple(warnings))
        # another process has revoked the grant since the commit
        revoked = Caution("it has been revoked meanwhile")
        return AddedGrant(grant_id, describe_fields(fields), (revoked,))
