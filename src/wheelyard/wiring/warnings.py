"""What of a server's settings and surroundings asks for a look."""

from collections.abc import Iterator, Sequence
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
from wheelyard.settings import validation
from wheelyard.settings.load import COMMAND_SOURCE, settings_without_effect
from wheelyard.settings.sections import MEMORY_LOCATION, Settings
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

    Raises Invalid (code `bad_setting`) if a file cannot be read, they do not belong together, or
    the certificate is not valid now.
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
        yield from map(Caution, file.warnings)
    # who may change the record of a token can give rights to a token of their own
    store = settings.access.credentials_store or settings.store.location
    if store != MEMORY_LOCATION and not is_bucket(store):
        yield from write_warnings(Path(store, keys.TOKENS))
    yield from validation.warnings_for(settings)


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

    # sign a URL now, to warn before the first download: that works all the same, only slower
    try:
        key = keys.distribution(TRIAL_NAME, "0" * 64, TRIAL_NAME)
        index.files.store.sign(key, timedelta(minutes=2))
    except Unavailable as fault:
        yield Caution(f"{fault.message} Until then every download goes through here.", fault.advice)


def upstream_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield a warning if servers of the store know public names, and the settings name none of them.

    Raises Unavailable if the store does not answer.
    """
    if index.upstream is not None:
        return
    first_entry = next(index.stores.documents.list(keys.UPSTREAM), None)
    if first_entry is not None:
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
    Yield all warnings about an index that is served: those that `serve` prints at its start.

    A certificate that cannot be used, or a damaged document, is one of them. What a store that does
    not answer would say is left out.
    """
    yield from map(Caution, settings_without_effect(index.server.sources))
    try:
        yield from settings_warnings(index.settings, index.authenticator)
    except Invalid as fault:
        # of the certificate: the server has the one before
        yield Caution(fault.message, fault.advice)
    yield from place_warnings(index)
    for find in (password_warnings, index_warnings, upstream_warnings):
        # each by itself: a damaged document does not hide what the others say
        try:
            yield from find(index)
        except Unavailable as fault:
            # of a store that does not answer, whoever asks it next says so
            if fault.code in UNREADABLE_CODES:
                yield Caution(fault.message, fault.advice)
    if index.upstream is not None and index.upstream.policy.osv is not None:
        yield from map(Caution, index.upstream.policy.osv.warnings)


def index_warnings(index: Index) -> Iterator[Caution]:
    """
    Yield the warnings about indexes and rights, and about settings that name none of the indexes.

    Raises Unavailable if the store does not answer, or what it says of indexes, rights, publishers
    or retention is damaged, or only known to a newer version.
    """
    yield from validation.access_warnings(index.server.settings, index.server.access.load())
    yield from _undecided(index)
    yield from _publishers_without_audience(index)
    definitions = index.server.definitions
    in_force = definitions.load()
    yield from in_force.removed_rules()
    for definition in in_force.with_main.values():
        yield from validation.without_advisories(index.settings, definition.name, definition.rules)
        if definition.rules.verified and index.settings.upstream.is_on:
            yield from without_verifier(definition.title)
    for name, why in in_force.problems.items():
        advice = Advice(Remedy.CHANGE_INDEX, name)
        # no page and no command changes one of this name, but for the one that renames it
        if name == FORMER_MAIN:
            advice = RENAME_MAIN
        yield Caution(why, advice)
    yield from definitions.open_layers(in_force.definitions, in_force.with_main)
    yield from _of_readers(index, in_force)
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


def _of_readers(index: Index, in_force: KnownIndexes) -> Iterator[Caution]:
    """Yield what of who may read the indexes is hardly meant."""
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
    closed = list[str]()
    if not is_public:
        closed.append(MAIN)
    for name, definition in in_force.definitions.items():
        if settings.access.private or not definition.is_open:
            closed.append(name)
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

    # what a command sets by itself, nobody has decided
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
    names = sorted(set(index.server.definitions.names()) - {FORMER_MAIN})

    # in a store with main alone, they hold where they did
    if not names:
        return
    grants = index.server.access.show().grants
    publishers = index.server.index_administration.publishers.show()
    now = index.server.runtime.now()
    active = [record for record in index.tokens.all() if record.state(now) == "active"]
    unnamed = [grant for grant in grants if not grant.names_index]

    # one to administer is about all indexes, and every other one about main
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
        named_indexes = set[str]()
        for grant in grants:
            if grant.names_index:
                named_indexes.update(grant.index.split(","))
        fact = f"{' and '.join(kinds)} of the store name no index, so that they are about main"
        # an index that no grant named was open to all of these rights
        lost_indexes = [name for name in names if name not in named_indexes]
        if lost_indexes:
            fact += f", and no more about {' and '.join(lost_indexes)}"
        yield Caution(f"{fact}.", Advice(Remedy.NAME_INDEXES))
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
    in_force = index.server.definitions.load()
    existing = {MAIN, EVERY_INDEX, *in_force.names}
    # all of them first: if one document cannot be read, that is the only thing to say
    rights = list(_rights_with_indexes(index))
    for what, names in rights:
        for name in names:
            if name not in existing:
                yield names_no_index(what, name)
    for definition in in_force.with_main.values():
        yield from unknown_sources(definition, existing)
    retention = index.server.retention
    if retention is not None:
        for rule in retention.rules:
            if rule.index not in existing:
                yield names_no_index(f"retention {rule.title}", rule.index)


def _rights_with_indexes(index: Index) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each right of the store and of the settings, in words, with the indexes it names."""
    for grant in index.server.access.load().all:
        yield str(grant), grant.scope.indexes
    for publisher in index.server.publishers.load().all:
        yield f"publisher {publisher.id}", publisher.scope.indexes
    for token in index.authenticator.static_tokens.all().values():
        name = escaped(token.identity.principal.partition(":")[2])
        for scope in token.identity.scopes:
            yield f"static token {name}", scope.indexes
    google = index.server.settings.google
    yield "google.access_token.indexes", google.access_token.indexes


def ask_providers(settings: Settings) -> "Iterator[tuple[ProviderConfig, str]]":
    """
    Ask each provider of `[[sign_in]]` for what it says of itself.

    Yield what the settings say of it, and why it cannot be used so, or an empty text.
    """
    if settings.sign_in:
        # nothing of it is loaded without a provider
        from wheelyard.wiring.sign_in_building import build_providers  # noqa: PLC0415 - see above

        for provider in build_providers(settings, system_runtime()).values():
            yield provider.config, provider.problem()
