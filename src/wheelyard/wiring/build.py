"""
Builds main, and the server that has all indexes, from the settings of a process.

The modules of a feature that is not configured are not imported.
"""

from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.sessions import Sessions
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.opening import Catalog, open_catalog
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.model.brand import MAX_LOGO_BYTES, Brand, Logo, parse_logo
from wheelyard.model.decoding import escaped
from wheelyard.model.index_definition import UpstreamLabels
from wheelyard.operations.access_control import AccessControl
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.settings.load import google_endpoints, process_environment
from wheelyard.settings.sections import Settings, WebSettings
from wheelyard.settings.value_checks import bad_setting
from wheelyard.storage.base import Stores
from wheelyard.storage.forwarding import ReadOnlyStore, StoreMetrics, instrumented
from wheelyard.storage.spool import Spool
from wheelyard.wiring.authentication import build_authenticator
from wheelyard.wiring.index import Index
from wheelyard.wiring.index_builder import IndexBuilder
from wheelyard.wiring.server import Server
from wheelyard.wiring.stores import (
    StoreTraits,
    cache_policy_in,
    open_stores,
    stores_in_memory,
    system_runtime,
)


def brand_of(web: WebSettings) -> Brand:
    """
    Return the brand of the settings.

    Raises Invalid if the logo is missing or unfit.
    """
    logo: Logo | None = None
    if web.logo:
        logo = _read_logo(web.logo)
    return Brand(web.name, web.accent.lower(), logo)


def _read_logo(path: str) -> Logo:
    """Return the logo in a file, or raise Invalid if the file cannot be read, or is no logo."""
    try:
        with Path(path).open("rb") as file:
            # a byte more than allowed, so that a larger file is refused without a whole read
            body = file.read(MAX_LOGO_BYTES + 1)
            return parse_logo(body)
    except OSError as error:
        raise bad_setting(f"web.logo: {escaped(path)}: {error.strerror}") from error
    except Invalid as error:
        why = error.message.removesuffix(".")
        raise bad_setting(f"web.logo: {escaped(path)}: {why}") from error


def open_index(settings: Settings, *, create: bool = True, is_server: bool = False) -> Index:
    """
    Return main of the store of the settings. With `create`, a missing store is made.

    `is_server` is True in a process that serves the indexes, and False in a command.

    Raises Invalid for a wrong setting, a missing store, or a store that this version cannot open.
    Raises Unavailable if the store does not answer.
    """
    runtime = system_runtime()
    google = google_endpoints(process_environment())
    opened = open_stores(settings, runtime, create=create)
    return build_index(
        opened.stores,
        opened.spool,
        settings,
        runtime,
        opened.traits,
        google,
        is_server=is_server,
    )


def index_without_store(settings: Settings) -> Index:
    """
    Return main by the settings, over an empty store in memory.

    Raises Invalid for a wrong setting.
    """
    opened = stores_in_memory()
    google = google_endpoints(process_environment())
    # without this bucket, what is kept of upstream indexes is in memory, too
    settings = replace(settings, upstream=replace(settings.upstream, bucket=""))
    return build_index(opened.stores, opened.spool, settings, system_runtime(), google=google)


def build_index(  # noqa: PLR0913, PLR0917 - all parts of an index
    stores: Stores,
    spool: Spool,
    settings: Settings,
    runtime: Runtime,
    traits: StoreTraits | None = None,
    google: GoogleEndpoints = GOOGLE,
    documents: CachePolicy | None = None,
    *,
    is_server: bool = False,
) -> Index:
    """
    Return main over stores (local without `traits`), and write the format of a new store.

    `documents` is how documents are cached; None means as the settings say. `is_server` is for a
    process that serves the indexes: this begins to read what the first requests need. Raises
    Invalid for a wrong setting, or a store that this version cannot open, and Unavailable if the
    store does not answer.
    """
    traits = traits or StoreTraits()
    store_metrics = StoreMetrics(runtime.monotonic)
    caching = documents or cache_policy_in(traits, settings.store)
    # a command gives serials also with `read_only`, as there may be no other server that does
    gives_serials = not (is_server and settings.server.read_only)
    measured = instrumented(stores, store_metrics)
    location = traits.files_location
    catalog = open_catalog(measured, runtime, caching, location, gives_serials=gives_serials)
    access = AccessControl(
        catalog.access_records, runtime, catalog.index_records, is_private=settings.access.private
    )
    cleanup = _publishing_cleanup(settings, catalog, runtime)
    authenticator = build_authenticator(settings, catalog, access, cleanup, runtime, google)
    sessions = _sessions(settings, catalog, authenticator, cleanup, runtime, is_server=is_server)
    definitions = _definitions(settings, catalog, is_server=is_server)
    if is_server:
        access.read_ahead(may_become_ambiguous=catalog.is_older)
    server: Server[Index] = Server(
        settings=settings,
        runtime=runtime,
        spool=spool,
        traits=traits,
        store_metrics=store_metrics,
        caching=caching,
        catalog=catalog,
        gives_serials=gives_serials,
        clock=_store_clock(catalog, runtime, may_write=gives_serials),
        access=access,
        publishing_cleanup=cleanup,
        authenticator=authenticator,
        sessions=sessions,
        brand=brand_of(settings.web),
        definitions=definitions,
        serves=is_server,
        make_builder=lambda server: IndexBuilder(server).build,
    )
    main = server.indexes.main()
    if is_server:
        server.namespaces.read_ahead()
        main.search.read_ahead()
    return main


def _publishing_cleanup(
    settings: Settings, catalog: Catalog, runtime: Runtime
) -> PublishingCleanup:
    """Return the cleanup of records of used ID tokens and of the tokens of CI jobs."""
    lifetime = timedelta(seconds=settings.trusted_publishing.token_seconds)
    return PublishingCleanup(catalog.used_id_tokens, catalog.token_records, runtime, lifetime)


def _definitions(settings: Settings, catalog: Catalog, *, is_server: bool) -> IndexDefinitions:
    """
    Return the definitions of the indexes of the store.

    On a server, raises an error if it cannot start with them.
    """
    # a command without an upstream index may have other settings than the server
    are_labels_known = is_server or settings.upstream.is_on
    definitions = IndexDefinitions(
        catalog.index_records,
        settings.server.roots,
        UpstreamLabels(settings.upstream.labels, are_known=are_labels_known),
        is_private=settings.access.private,
    )
    # a command that repairs the definitions starts also while they are damaged
    if is_server:
        definitions.require_start()
    return definitions


def _store_clock(catalog: Catalog, runtime: Runtime, *, may_write: bool) -> StoreClock:
    """Return the clock of the store, which learns the time by a write if it may write."""
    documents = catalog.stores.documents
    if not may_write:
        documents = ReadOnlyStore(documents)
    return StoreClock(documents, runtime)


def _sessions(
    settings: Settings,
    catalog: Catalog,
    authenticator: Authenticator,
    cleanup: PublishingCleanup,
    runtime: Runtime,
    *,
    is_server: bool,
) -> Sessions:
    """Return the sessions of people in browsers. On a server, people can sign in to get one."""
    domains = frozenset(domain.lower() for domain in settings.google.id_token.allowed_domains)
    sessions = Sessions(catalog.session_records, authenticator, runtime, domains)
    if settings.sign_in and is_server:
        # no module of providers is loaded where nobody signs in with one
        from wheelyard.wiring.sign_in_building import build_sign_in

        sessions.sign_in = build_sign_in(settings, catalog, authenticator, cleanup, runtime)
    return sessions
