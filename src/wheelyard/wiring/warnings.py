"""Finds warnings about the settings, the files and the store of a server."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.verifiers.reloading_file import write_access_warnings
from wheelyard.catalog import keys
from wheelyard.catalog.removed import RENAME_MAIN
from wheelyard.errors import DOCUMENTATION, UNREADABLE_CODES, Invalid, Unavailable
from wheelyard.model.access import describe_actions, describe_indexes, parse_actions
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.index_name import EVERY_INDEX, FORMER_MAIN, MAIN
from wheelyard.operations.access_control import ListedGrant
from wheelyard.operations.index_definitions import KnownIndexes, names_no_index, unknown_sources
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.settings import validation
from wheelyard.settings.load import COMMAND_SOURCE, settings_without_effect
from wheelyard.settings.sections import MEMORY_LOCATION, SettingPath, Settings
from wheelyard.storage.filesystem import remote_file_system
from wheelyard.storage.location import is_bucket
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import exposed_credentials, system_runtime

if TYPE_CHECKING:
    from wheelyard.authentication.sign_in.provider import ProviderConfig
    from wheelyard.wiring.tls_files import TlsFiles

TRIAL_NAME: Final = NormalizedName("trial")
"""The project in a URL that is signed as a trial."""


def tls_files(settings: Settings) -> "tuple[TlsFiles, ...]":
    """
    Return the certificate and key of the server, or an empty tuple if the settings name none.

    Raises Invalid (code `bad_setting`) if a file cannot be read, the key is not that of the
    certificate, or the certificate is not valid now.
    """
    if not settings.server.certificate:
        return ()
    # imported only if needed: cryptography takes a while to import
    from wheelyard.wiring.tls_files import open_tls_files  # noqa: PLC0415 - see above

    return (open_tls_files(settings, system_runtime()),)


def settings_warnings(settings: Settings, authenticator: Authenticator) -> Iterator[Caution]:
    """
    Yield the warnings about settings, files of secrets, and write access to stored tokens.

    Raises Invalid if the certificate or its key cannot be used.
    """
    for file in (*authenticator.files, *tls_files(settings)):
        for warning in file.warnings:
            yield Caution(warning)
    # a user who may change the record of a token can give it any right
    location = settings.access.credentials_store or settings.store.location
    if location != MEMORY_LOCATION and not is_bucket(location):
        yield from write_warnings(Path(location, keys.TOKENS))
    yield from validation.warnings_for(settings)


def write_warnings(path: Path) -> Iterator[Caution]:
    """Yield a warning for each way in which other users of this machine can change `path`."""
    for way in write_access_warnings(path):
        yield Caution(f"{path}: {way}.")


def place_warnings(index: Index) -> Iterator[Caution]:
    """Yield the warnings about the folder or bucket of the store, and about signed URLs of it."""
    location = index.settings.store.location
    file_system = remote_file_system(Path(location))
    if file_system is not None:
        yield Caution(
            f"{escaped(location)} lies on {file_system}, where locks and links may not hold; keep "
            "the store on a local disk"
        )
    for folder in exposed_credentials(index.settings):
        yield Caution(
            f"other users of this machine may enter {escaped(str(folder))}, and whoever reads the "
            "key of sessions in it can sign in as anybody; let it belong to the user of the server "
            f"alone: chown, then chmod go= {quote(escaped(str(folder)))}"
        )
    if index.server.is_local:
        return

    # a trial before the first download: without signed URLs, downloads work, but are slower
    try:
        key = keys.distribution(TRIAL_NAME, "0" * 64, TRIAL_NAME)
        index.files.store.sign(key, timedelta(minutes=2))
    except Unavailable as fault:
        yield Caution(f"{fault.message} Until then every download goes through here.", fault.advice)


def upstream_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield a warning if a server of the store has used upstream indexes, and the settings have none.

    Raises Unavailable if the store does not answer.
    """
    if index.upstream is not None:
        return
    first_entry = next(index.stores.documents.list(keys.UPSTREAM), None)
    has_upstream_objects = first_entry is not None
    if has_upstream_objects:
        yield Caution(
            "a server of this store has, or had, upstream indexes, and these settings have no "
            "[upstream]: no name is compared with the public ones, so that an upload makes a "
            "public name private for ever. Give the settings of that server by --config"
        )


def password_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield a warning that names the people whose lines of the htpasswd file are outdated.

    Raises Unavailable if the store does not answer, or the document about these lines is damaged.
    """
    htpasswd = index.authenticator.htpasswd
    if htpasswd is None:
        return
    names = htpasswd.outdated_names()
    if names:
        path = str(htpasswd.file.path)
        yield Caution(
            f"{escaped(path)}: these people cannot sign in with a password, as they had changed it "
            f"in the browser, which is not possible any more: {escaped(', '.join(names))}.",
            Advice(Remedy.REPLACE_PASSWORDS, path),
        )


def server_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield all warnings about an index that is served, as `serve` prints them at its start.

    A certificate that cannot be used, or a damaged document, is one of them. Warnings that need a
    store are left out if it does not answer.
    """
    for warning in settings_without_effect(index.server.sources):
        yield Caution(warning)
    try:
        yield from settings_warnings(index.settings, index.authenticator)
    except Invalid as fault:
        # a wrong certificate, in place of which a server that runs uses the one before
        yield Caution(fault.message, fault.advice)
    yield from place_warnings(index)
    for find_warnings in (password_warnings, index_warnings, upstream_warnings):
        # each in a `try` of its own: a damaged document must not hide the other warnings
        try:
            yield from find_warnings(index)
        except Unavailable as fault:
            # a store that does not answer is told of by the next operation on it
            if fault.code in UNREADABLE_CODES:
                yield Caution(fault.message, fault.advice)
    if index.upstream is not None and index.upstream.policy.osv is not None:
        for warning in index.upstream.policy.osv.warnings:
            yield Caution(warning)


def index_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield the warnings about indexes and rights, and about rights and settings of unknown indexes.

    Raises Unavailable if the store does not answer, or a document about indexes, rights, publishers
    or retention is damaged, or can only be read by a newer version.
    """
    yield from validation.access_warnings(index.server.settings, index.server.access.load())
    yield from _undecided_access(index)
    yield from _publishers_without_audience(index)
    definitions = index.server.definitions
    in_force = definitions.load()
    yield from in_force.removed_rules()
    for definition in in_force.with_main.values():
        yield from validation.without_advisories(index.settings, definition.name, definition.rules)
        if definition.rules.verified and index.settings.upstream.is_on:
            yield from without_verifier(definition.title)
    for name, problem in in_force.problems.items():
        advice = Advice(Remedy.CHANGE_INDEX, name)
        # an index of this name cannot be changed before it is renamed
        if name == FORMER_MAIN:
            advice = RENAME_MAIN
        yield Caution(problem, advice)
    yield from definitions.open_layers(in_force.definitions, in_force.with_main)
    yield from _reader_warnings(index, in_force)
    yield from rights_without_index(index)
    yield from _unknown_indexes(index)


def without_verifier(title: str) -> Iterator[Caution]:
    """Yield a warning if no public file of an index with the rule `verified` can be verified."""
    # few indexes have the rule
    from wheelyard.archive.attestation_verifier import is_installed  # noqa: PLC0415

    if not is_installed():
        yield Caution(
            f"the index {title} has the rule verified, and no public file can be verified: install "
            "the extra attestations, or leave the rule out"
        )


def _reader_warnings(index: Index, in_force: KnownIndexes) -> Iterator[Caution]:
    """Yield a warning if more people than intended may be able to read packages."""
    settings = index.settings
    is_public = index.server.indexes.main().read_policy.is_public()
    if is_public and validation.is_reachable(settings):
        yield Caution(
            "anyone who can reach this address may read every package; close reading with "
            f"access.private: {DOCUMENTATION}/hardening.md"
        )
    if is_public and settings.google.access_token.resource:
        yield Caution(
            "google.access_token.resource says who may do what, and reading is open to everybody "
            "all the same; close it with access.private"
        )
    closed_names = list[str]()
    if not is_public:
        closed_names.append(MAIN)
    for name, definition in in_force.definitions.items():
        if settings.access.private or not definition.is_open:
            closed_names.append(name)
    if settings.store.downloads == "public" and closed_names:
        yield Caution(
            f"reading {describe_indexes(tuple(closed_names))} needs a credential, but whoever "
            "knows the URL of a file gets it from the public bucket"
        )


def _undecided_access(index: Index) -> Iterator[Caution]:
    """
    Yield a warning for each way to get access that nobody has decided on, if a file has grants.

    In earlier versions, a grant of the settings decided both: nobody could read main without a
    credential, and a password gave no rights.
    """
    server = index.server
    access = index.server.settings.access
    if not any(grant.source for grant in server.access.show().grants):
        return

    # without the settings that a command sets by itself
    decided_settings = set[SettingPath]()
    for path, source in server.sources.items():
        if source != COMMAND_SOURCE:
            decided_settings.add(path)
    main_table = server.definitions.stored().main
    is_read_key_set = main_table is not None and "read" in main_table.keys
    is_reading_decided = ("access", "private") in decided_settings or is_read_key_set
    if server.definitions.load().main.is_open and not is_reading_decided:
        yield Caution(
            "anybody may read main, whatever the grants of an applied file say: write private = "
            "true under [access] if reading needs a credential, or private = false if it does not"
        )
    if access.htpasswd_file and ("access", "htpasswd_may") not in decided_settings:
        actions = describe_actions(parse_actions(access.htpasswd_may))
        yield Caution(
            f"every name of access.htpasswd_file may {actions} every project in main, whatever the "
            "grants of an applied file say: write htpasswd_may = [] under [access] for nothing, or "
            'htpasswd_may = ["read", "upload"]'
        )


def _publishers_without_audience(index: Index) -> Iterator[Caution]:
    """Yield a warning if the store has publishers, and the settings let no job get a token."""
    server = index.server
    if not server.settings.trusted_publishing.audience and server.publishers.show():
        yield Caution(
            "no job gets a token by the trusted publishers of the store: set "
            "trusted_publishing.audience to that of the jobs' ID tokens, such as the host of this "
            "index"
        )


def rights_without_index(index: Index) -> Iterator[Caution]:
    """
    Yield a warning for each change to rights of earlier versions, which named no index.

    Such a right held in main and in each index that no grant named. So did reading without a
    credential. Raises Unavailable if the store does not answer, or the grants, the publishers or
    the indexes are damaged.
    """
    index_names = sorted(set(index.server.definitions.names()) - {FORMER_MAIN})

    # in a store with main alone, nothing has changed
    if not index_names:
        return
    grants = index.server.access.show().grants
    publishers = index.server.index_administration.publishers.show()
    now = index.server.runtime.now()
    active_tokens = [record for record in index.tokens.all() if record.state(now) == "active"]

    # a right to administer is about all indexes, and every other one about main
    unnamed_grants = [grant for grant in grants if not grant.names_index]
    unnamed_scopes = [record.scope for record in active_tokens if not record.names_index]
    admin_grants = sum(grant.index == EVERY_INDEX for grant in unnamed_grants)
    admin_tokens = sum(EVERY_INDEX in scope.indexes for scope in unnamed_scopes)
    counts = {
        "grant": len(unnamed_grants) - admin_grants,
        "token": len(unnamed_scopes) - admin_tokens,
        "publisher": sum(not row.names_index for row in publishers),
    }
    counted_kinds = [counted(number, kind) for kind, number in counts.items() if number]
    if counted_kinds:
        rights = " and ".join(counted_kinds)
        fact = f"{rights} of the store name no index, so that they are about main"
        lost_indexes = _indexes_without_grant(index_names, grants)
        if lost_indexes:
            fact += f", and no more about {' and '.join(lost_indexes)}"
        yield Caution(f"{fact}.", Advice(Remedy.NAME_INDEXES))
    admin_rights = admin_grants + admin_tokens
    if admin_rights:
        yield Caution(
            f"{counted(admin_rights, 'right')} of the store to administer name no index, so that "
            "they are about all indexes.",
            Advice(Remedy.NAME_INDEXES),
        )
    indexes_without_read = sorted(_indexes_without_read(index))
    if indexes_without_read and index.server.access.is_of_earlier_version():
        yield Caution(
            f"{' and '.join(indexes_without_read)}: whoever reads such an index needs a right in "
            'it since version 0.2.0, as it has no key read. Give it read = "granted", or "anyone".'
        )


def _indexes_without_grant(index_names: Iterable[str], grants: Iterable[ListedGrant]) -> list[str]:
    """Return the indexes that no grant names, in which all rights without an index held."""
    granted_names = set[str]()
    for grant in grants:
        if grant.names_index:
            granted_names.update(grant.index.split(","))
    return [name for name in index_names if name not in granted_names]


def _indexes_without_read(index: Index) -> Iterator[str]:
    """Yield the names of the served indexes without the key `read`, which says who may read."""
    definitions = index.server.definitions
    served = definitions.served()
    for table in definitions.stored().tables:
        if "read" not in table.keys and table.name in served:
            yield table.name


def _unknown_indexes(index: Index) -> Iterator[Caution]:
    """Yield a warning for each right, setting or index that names an unknown index."""
    in_force = index.server.definitions.load()
    known_names = {MAIN, EVERY_INDEX, *in_force.names}
    # read before the first warning: an error about a damaged document comes without others
    rights = list(_rights_with_indexes(index))
    for right, names in rights:
        for name in names:
            if name not in known_names:
                yield names_no_index(right, name)
    for definition in in_force.with_main.values():
        yield from unknown_sources(definition, known_names)
    retention = index.server.retention
    if retention is not None:
        for rule in retention.rules:
            if rule.index not in known_names:
                yield names_no_index(f"retention {rule.title}", rule.index)


def _rights_with_indexes(index: Index) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each right of the store and of the settings, in words, with the indexes in it."""
    for grant in index.server.access.load().all:
        yield str(grant), grant.scope.indexes
    for publisher in index.server.publishers.load().all:
        yield f"publisher {publisher.id}", publisher.scope.indexes
    for token in index.authenticator.static_tokens.all().values():
        _, _, token_name = token.identity.principal.partition(":")
        for scope in token.identity.scopes:
            yield f"static token {escaped(token_name)}", scope.indexes
    google = index.server.settings.google
    yield "google.access_token.indexes", google.access_token.indexes


def ask_providers(settings: Settings) -> "Iterator[tuple[ProviderConfig, str]]":
    """
    Ask each provider of `[[sign_in]]` for its own description, as a check of the settings.

    Yields the configuration of each provider, and why it cannot be used so, or an empty text.
    """
    if settings.sign_in:
        # no module of providers is loaded without one
        from wheelyard.wiring.sign_in_building import build_providers  # noqa: PLC0415 - see above

        for provider in build_providers(settings, system_runtime()).values():
            yield provider.config, provider.problem()
