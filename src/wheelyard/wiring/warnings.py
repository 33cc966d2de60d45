"""What of a server's settings and surroundings asks for a look."""

from collections.abc import Iterator
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
from wheelyard.operations.index_definitions import KnownIndexes, names_no_index, unknown_sources
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.settings.load import COMMAND_SOURCE, settings_without_effect
from wheelyard.settings.sections import MEMORY_LOCATION, Settings
from wheelyard.settings.validation import (
    access_warnings,
    is_reachable,
    warnings_for,
    without_advisories,
)
from wheelyard.storage.filesystem import remote_file_system
from wheelyard.storage.location import is_bucket
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import exposed_credentials, system_runtime

if TYPE_CHECKING:
    from wheelyard.authentication.sign_in.provider import ProviderConfig
    from wheelyard.wiring.tls_files import TlsFiles

TRIAL_NAME: Final = NormalizedName("trial")
"""The project of a URL that is signed to see whether that works."""


def tls_files(settings: Settings) -> "tuple[TlsFiles, ...]":
    """
    Return the certificate and key of the server, or an empty tuple if the settings name none.

    Raises Invalid if they cannot be read, or do not belong together.
    """
    if not settings.server.certificate:
        return ()
    # imported only if needed: cryptography takes a while to import
    from wheelyard.wiring.tls_files import open_tls_files  # noqa: PLC0415 - see above

    return (open_tls_files(settings, system_runtime()),)


def settings_warnings(settings: Settings, authenticator: Authenticator) -> Iterator[Caution]:
    """
    Yield the warnings about settings, files of secrets, and write access to stored tokens.

    Raises Invalid as `tls_files`.
    """
    for file in (*authenticator.files, *tls_files(settings)):
        yield from map(Caution, file.warnings)
    store = settings.access.credentials_store or settings.store.location
    if store != MEMORY_LOCATION and not is_bucket(store):
        yield from write_warnings(Path(store, keys.TOKENS))
    yield from warnings_for(settings)


def write_warnings(path: Path) -> Iterator[Caution]:
    """Yield a warning for each way in which other users of this machine can change `path`."""
    for way in write_access_warnings(path):
        yield Caution(f"{path}: {way}.")


def place_warnings(index: Index) -> Iterator[Caution]:
    """Yield the warnings about where the store is, and whether its downloads can be redirected."""
    location = index.settings.store.location
    kind = remote_file_system(Path(location))
    if kind is not None:
        yield Caution(
            f"{escaped(location)} lies on {kind}, where locks and links may not hold; keep the "
            "store on a local disk"
        )
    for folder in exposed_credentials(index.settings):
        yield Caution(
            f"other users of this machine may enter {escaped(str(folder))}, and whoever reads the "
            "key of sessions in it can sign in as anybody; let it belong to the user of the server "
            f"alone: chown, then chmod go= {quote(escaped(str(folder)))}"
        )
    if index.server.is_local:
        return
    try:  # sign a URL now, to warn before the first download
        key = keys.distribution(TRIAL_NAME, "0" * 64, TRIAL_NAME)
        index.files.store.sign(key, timedelta(minutes=2))
    except Unavailable as fault:
        yield Caution(f"{fault.message} Until then every download goes through here.", fault.advice)


def upstream_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield a warning if servers of the store know public names, and the settings name none of them.

    Raises Unavailable if the store does not answer.
    """
    upstream = index.stores.documents.list(keys.UPSTREAM) if index.upstream is None else ()
    if any(True for _ in upstream):
        yield Caution(
            "a server of this store has, or had, upstream indexes, and these settings have no "
            "[upstream]: no name is compared with the public ones, so that an upload makes a "
            "public name private for ever. Give the settings of that server by --config"
        )


def password_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield a warning that names everybody whose line of the htpasswd file is outdated.

    Raises Unavailable if the store does not answer, or the document that says so is damaged.
    """
    htpasswd = index.authenticator.htpasswd
    names = htpasswd.outdated_names() if htpasswd is not None else ()
    if htpasswd is not None and names:
        path = str(htpasswd.file.path)
        yield Caution(
            f"{escaped(path)}: these people cannot sign in with a password, as they had changed it "
            f"in the browser, which is not possible any more: {escaped(', '.join(names))}.",
            Advice(Remedy.REPLACE_PASSWORDS, path),
        )


def server_warnings(index: Index) -> Iterator[Caution]:
    """Yield all warnings about an index that is served: those that `serve` prints at its start."""
    yield from map(Caution, settings_without_effect(index.server.sources))
    try:
        yield from settings_warnings(index.settings, index.authenticator)
    except Invalid as fault:  # of the certificate: the server has the one before
        yield Caution(fault.message, fault.advice)
    yield from place_warnings(index)
    for find in (password_warnings, index_warnings, upstream_warnings):
        try:
            yield from find(index)
        except Unavailable as fault:
            if fault.code in UNREADABLE_CODES:  # else whoever asks the store next says it
                yield Caution(fault.message, fault.advice)
    if index.upstream is not None and index.upstream.policy.osv is not None:
        yield from map(Caution, index.upstream.policy.osv.warnings)


def index_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield the warnings about indexes and rights, and about settings that name none of the indexes.

    Raises Unavailable if the store does not answer, or the definitions or grants in it are damaged.
    """
    yield from access_warnings(index.server.settings, index.server.access.load())
    yield from _undecided(index)
    yield from _publishers_without_audience(index)
    in_force = index.server.definitions
    now = in_force.load()
    yield from now.removed_rules()
    for definition in now.with_main.values():
        yield from without_advisories(index.settings, definition.name, definition.rules)
        if definition.rules.verified and index.settings.upstream.is_on:
            yield from without_verifier(definition.title)
    for name, why in now.problems.items():
        advice = RENAME_MAIN if name == FORMER_MAIN else Advice(Remedy.CHANGE_INDEX, name)
        yield Caution(why, advice)
    yield from in_force.open_layers(now.definitions, now.with_main)
    yield from _of_readers(index, now)
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


def _of_readers(index: Index, now: KnownIndexes) -> Iterator[Caution]:
    """Yield what of who may read the indexes is hardly meant."""
    settings = index.settings
    is_public = index.server.indexes.main().read_policy.is_public()
    if is_public and is_reachable(settings):
        yield Caution(
            "anyone who can reach this address may read every package; close reading with "
            f"access.private: {DOCUMENTATION}/hardening.md"
        )
    if is_public and settings.google.access_token.resource:
        yield Caution(
            "google.access_token.resource says who may do what, and reading is open to everybody "
            "all the same; close it with access.private"
        )
    is_private = settings.access.private
    closed = [
        name for name, definition in now.definitions.items() if is_private or not definition.is_open
    ]
    if not is_public:
        closed.insert(0, MAIN)
    if settings.store.downloads == "public" and closed:
        yield Caution(
            f"reading {describe_indexes(tuple(closed))} needs a credential, but whoever knows the "
            "URL of a file gets it from the public bucket"
        )


def _undecided(index: Index) -> Iterator[Caution]:
    """
    Yield what a file with grants leaves open, if nobody has decided it.

    Earlier versions took a grant of the settings for the answer: with one, nobody read without a
    credential, and passwords gave no rights.
    """
    server = index.server
    access = index.server.settings.access
    if not any(grant.source for grant in server.access.show().grants):
        return
    decided = {path for path, source in server.sources.items() if source != COMMAND_SOURCE}
    main = server.definitions.stored().main
    is_said = ("access", "private") in decided or (main is not None and "read" in main.keys)
    if server.definitions.load().main.is_open and not is_said:
        yield Caution(
            "anybody may read main, whatever the grants of an applied file say: write private = "
            "true under [access] if reading needs a credential, or private = false if it does not"
        )
    if access.htpasswd_file and ("access", "htpasswd_may") not in decided:
        actions = describe_actions(parse_actions(access.htpasswd_may))
        yield Caution(
            f"every name of access.htpasswd_file may {actions} every project in main, whatever the "
            "grants of an applied file say: write htpasswd_may = [] under [access] for nothing, or "
            'htpasswd_may = ["read", "upload"]'
        )


def _publishers_without_audience(index: Index) -> Iterator[Caution]:
    """Yield a warning if there are publishers, and no job gets a token."""
    server = index.server
    if not server.settings.trusted_publishing.audience and server.publishers.show():
        yield Caution(
            "no job gets a token by the trusted publishers of the store: set "
            "trusted_publishing.audience to that of the jobs' ID tokens, such as the host of this "
            "index"
        )


def rights_without_index(index: Index) -> Iterator[Caution]:
    """
    Yield what has changed for rights of earlier versions, which named no index.

    They held in main and in each index that no grant named, and so did reading without a
    credential. Raises Unavailable if the store does not answer, or the grants, the publishers or
    the indexes are damaged.
    """
    names = sorted({*index.server.definitions.names()} - {FORMER_MAIN})
    if not names:  # they hold where they did
        return
    grants = index.server.access.show().grants
    publishers = index.server.index_administration.publishers.show()
    now = index.server.runtime.now()
    active = [record for record in index.tokens.all() if record.state(now) == "active"]
    unnamed = [grant for grant in grants if not grant.names_index]
    of_server = sum(grant.index == EVERY_INDEX for grant in unnamed)
    unnamed_tokens = [record.scope for record in active if not record.names_index]
    tokens_of_server = sum(EVERY_INDEX in scope.indexes for scope in unnamed_tokens)
    counts = {
        "grant": len(unnamed) - of_server,
        "token": len(unnamed_tokens) - tokens_of_server,
        "publisher": sum(not row.names_index for row in publishers),
    }
    kinds = [counted(number, kind) for kind, number in counts.items() if number]
    if kinds:
        named = {name for grant in grants if grant.names_index for name in grant.index.split(",")}
        elsewhere = [name for name in names if name not in named]
        until = f", and no more about {' and '.join(elsewhere)}" if elsewhere else ""
        yield Caution(
            f"{' and '.join(kinds)} of the store name no index, so that they are about "
            f"main{until}.",
            Advice(Remedy.NAME_INDEXES),
        )
    if of_server + tokens_of_server:
        yield Caution(
            f"{counted(of_server + tokens_of_server, 'right')} of the store to administer name no "
            "index, so that they are about all indexes.",
            Advice(Remedy.NAME_INDEXES),
        )
    silent = sorted(_without_read(index))
    if silent and index.server.access.is_of_earlier_version():
        yield Caution(
            f"{' and '.join(silent)}: whoever reads such an index needs a right in it since "
            'version 0.2.0, as it has no key read. Give it read = "granted", or "anyone".'
        )


def _without_read(index: Index) -> Iterator[str]:
    """Yield the names of the indexes that do not say who may read them."""
    in_force = index.server.definitions
    served = in_force.served()
    for stored in in_force.stored().tables:
        if "read" not in stored.keys and stored.name in served:
            yield stored.name


def _unknown_indexes(index: Index) -> Iterator[Caution]:
    """Yield a warning for each right, setting or index that names an unknown index."""
    settings = index.server.settings
    now = index.server.definitions.load()
    named = [(str(grant), grant.scope.indexes) for grant in index.server.access.load().all]
    named += [
        (f"publisher {publisher.id}", publisher.scope.indexes)
        for publisher in index.server.publishers.load().all
    ]
    for token in index.authenticator.static_tokens.all().values():
        name = escaped(token.identity.principal.partition(":")[2])
        named += [(f"static token {name}", scope.indexes) for scope in token.identity.scopes]
    named.append(("google.access_token.indexes", settings.google.access_token.indexes))
    existing = {MAIN, EVERY_INDEX, *now.names}
    for what, names in named:
        yield from (names_no_index(what, other) for other in names if other not in existing)
    for definition in now.with_main.values():
        yield from unknown_sources(definition, existing)
    retention = index.server.retention
    for rule in retention.rules if retention is not None else ():
        if rule.index not in existing:
            yield names_no_index(f"retention {rule.title}", rule.index)


def ask_providers(settings: Settings) -> "Iterator[tuple[ProviderConfig, str]]":
    """
    Ask each provider of `[[sign_in]]` for what it says of itself.

    Yield what the settings say of it, and why it cannot be used so, or an empty text.
    """
    if settings.sign_in:
        # nothing of it is loaded without a provider
        from wheelyard.wiring.sign_in import build_providers  # noqa: PLC0415 - see above

        for provider in build_providers(settings, system_runtime()).values():
            yield provider.config, provider.problem()
