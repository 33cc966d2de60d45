"""`wheelyard serve`, and `wheelyard run`: the same with the command line of pypiserver."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click import Argument, Option, Parameter
from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.cli import command_context, output, shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.program import PLACE_OPTIONS
from wheelyard.cli.startup_message import print_startup_message
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.instrumentation import require_telemetry
from wheelyard.http.logs import configure_logging
from wheelyard.http.web_server import resolve_bind_address, run_server
from wheelyard.settings import sections
from wheelyard.settings.load import LoadedSettings, process_environment
from wheelyard.wiring.attestation_building import require_attestations
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime
from wheelyard.wiring.warnings import tls_files

if TYPE_CHECKING:
    from wheelyard.cli.watching import WatcherThreads
    from wheelyard.operations.applied_files import AppliedFiles
    from wheelyard.operations.applying import SourcedTables


logger = logging.getLogger("wheelyard")

NO_PROTECTION: Final = "."
"""The value of `-P` for no file, and of `-a` for no action."""
PROTECTED_ACTIONS: Final = frozenset({"download", "list", "update"})
"""The actions that `-a` takes, in the words of pypiserver."""
STORE_FOLDER: Final = ".wheelyard"
"""The store in the first folder of packages. Imports skip hidden folders."""
ALL_INTERFACES: Final = "0.0.0.0"  # noqa: S104 - the default of pypiserver
_IGNORED_OPTIONS: Final = {
    "backend": "the store is what --store names",
    "cache_control": "each reply has the one that is right for it",
    "fallback_url": "clients are sent to no other index; --upstream URL serves what one has",
    "hash_algo": "pages always have SHA-256",
    "health_endpoint": "it is /health",
    "log_file": "the log goes to standard error",
    "log_stream": "the log goes to standard error",
    "log_err_frmt": "the log has a form of its own",
    "log_frmt": "the log has a form of its own",
    "log_req_frmt": "the log has a form of its own",
    "log_res_frmt": "the log has a form of its own",
    "overwrite": "a published file is never replaced; use a new version",
    "server": "wheelyard has a server of its own; --workers takes more processes",
    "server_base_url": "links are relative; server.path_prefix is what a proxy puts before paths",
    "verbose": "the log has one line for each thing that goes wrong",
    "welcome": "the page at / is our own",
}
"""Options of pypiserver that are accepted and have no effect, with the reason."""
_IGNORED_FLAGS: Final = {"overwrite": "-o", "verbose": "-v"}
"""The ignored options that take no value, and their short forms."""

WORKERS: Final = Option(["--workers"], type=int, help="Processes.  [default: 1]")
ACCESS: Final = (
    Option(
        ["-P", "--passwords"],
        metavar="FILE",
        shell_complete=shared_options.complete_path,
        help="htpasswd file: whose names may read and upload; '.' for none, with '-a .'.",
    ),
    Option(
        ["-a", "--authenticate", "actions"],
        metavar="ACTIONS",
        help="What needs a credential: update,download,list; '.' for nothing.  [default: update]",
    ),
    Option(
        ["--i-know"],
        is_flag=True,
        default=None,
        help="Let everybody publish who reaches the server, though others than this machine do.",
    ),
)
"""The options that decide who may do what, of which `-P` and `-a` are those of pypiserver."""


class WatchOptions(Struct, frozen=True, kw_only=True):
    """The folders and buckets that `serve --watch` or `run` watches, and how."""

    places: tuple[str, ...] = ()
    """Folders and buckets."""
    lenient: bool = False
    """Whether old files that fail only current rules are imported."""
    every: float | None = None
    """Seconds between two scans. None for the default of each place."""
    import_first: bool = False
    """Whether existing files are imported before the server starts."""


def _single_upstream(
    _context: click.Context, _option: Parameter, urls: tuple[str, ...]
) -> str | None:
    """
    Return the URL of `--upstream`, or None without it.

    Raises UsageError for several URLs.
    """
    # of an option that is not `multiple`, click would drop all values but the last unseen
    if len(urls) > 1:
        raise click.UsageError("--upstream takes one index: several are [[upstream.index]] tables.")
    if not urls:
        return None
    return urls[0]


UPSTREAM: Final = Option(
    ["--upstream", "upstream"],
    metavar="URL",
    multiple=True,
    callback=_single_upstream,
    help="Serve public packages, too, from the Simple API at this URL.",
)


@cli_command(
    "serve",
    Option(["--host"], help="Address to listen on.  [default: 127.0.0.1]"),
    Option(["--port"], type=int, help="Port to listen on.  [default: $PORT, else 8080]"),
    WORKERS,
    Option(["--private"], is_flag=True, default=None, help="Reading needs a credential, too."),
    Option(
        ["--watch", "places"],
        multiple=True,
        metavar="PLACE",
        shell_complete=shared_options.complete_path,
        help="Import what is and what appears in a folder or a bucket.",
    ),
    Option(
        ["--watch-every", "every"],
        type=click.FloatRange(min=1),
        metavar="SECONDS",
        help="How often to look there.  [default: 2, and 60 for a bucket]",
    ),
    Option(["--lenient"], is_flag=True, help="--watch: old files that fail only today's rules."),
    Option(
        ["--apply", "files"],
        multiple=True,
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Put into the store first what this file says of the index, if it is a new one.",
    ),
    UPSTREAM,
    ACCESS,
    shared_options.STORE,
    examples=(
        "wheelyard serve",
        "wheelyard serve --store gs://acme-packages --host 0.0.0.0 --private",
        "wheelyard serve --watch ~/packages --port 9000",
    ),
    page="operating.md",
)
def serve_command(**options: Any) -> None:  # noqa: ANN401 - click's; each goes where it is parsed
    """Run the server of the index, until a signal stops it."""
    if not options["places"] and (options["lenient"] or options["every"]):
        raise click.UsageError("--lenient and --watch-every go with --watch.")
    overrides = overrides_of(options)
    if options["private"]:
        overrides["access"]["private"] = True
    watched = WatchOptions(
        places=options["places"], lenient=options["lenient"], every=options["every"]
    )
    # read before the settings, and long before a store is made: a wrong file stops the server
    files = _read_files_to_apply(options["files"])
    run_index(server_settings(options, overrides), watched, files)


def _read_files_to_apply(paths: tuple[Path, ...]) -> "tuple[SourcedTables, ...]":
    """Return the tables of files that describe the index, or raise Invalid if a file is wrong."""
    if not paths:
        return ()
    from wheelyard.cli.apply_commands import read_sourced_tables

    return tuple(read_sourced_tables(paths))


def overrides_of(options: dict[str, Any]) -> dict[str, dict[str, object]]:
    """
    Return the settings of the options that `serve` and `run` share, None for an option not given.

    Raises UsageError if the options contradict each other.
    """
    server = {name: options[name] for name in ("host", "port", "workers")}
    access: dict[str, object] = {"anonymous_uploads_anywhere": options["i_know"]}
    passwords_file = options["passwords"]
    protected_actions: frozenset[str] | None = None
    if options["actions"] is not None:
        protected_actions = _parse_actions(options["actions"])
    has_no_passwords = passwords_file == NO_PROTECTION
    protects_nothing = protected_actions == frozenset()

    # pypiserver, too, takes these two only together
    if has_no_passwords != protects_nothing:
        raise click.UsageError("No password is asked for with '-P .' and '-a .', both of them.")
    if has_no_passwords:
        access["htpasswd_file"] = ""
    elif passwords_file is not None:
        access["htpasswd_file"] = passwords_file
    if protected_actions is not None:
        # never set to False, as -a makes no private index public
        if not protected_actions.isdisjoint({"download", "list"}):
            access["private"] = True
        access["anonymous_uploads"] = "update" not in protected_actions
    upstream: dict[str, object] = {"url": options["upstream"]}
    if options["upstream"] is not None:
        upstream["enabled"] = True
    return {"server": server, "access": access, "upstream": upstream}


def server_settings(
    options: dict[str, Any],
    overrides: command_context.Tables,
    defaults: command_context.Tables | None = None,
) -> LoadedSettings:
    """
    Return the settings of `serve` or `run`, and warn of what is wrong with them.

    If the settings have a log in JSON, it is set up, and all messages go there from now on.
    `options` has the options of the command, `overrides` and `defaults` are as for
    `loaded_settings`. Raises Invalid if a value is wrong, or the settings file cannot be used.
    Raises UsageError for a wrong `-a`.
    """
    loaded = command_context.loaded_settings(overrides, defaults)
    # before the first warning, which may be a line of the log
    _prepare_log(loaded.settings)
    command_context.warn_of_settings_file(loaded)
    protected_actions = _parse_actions(options["actions"] or NO_PROTECTION)
    if len(protected_actions & {"download", "list"}) == 1:
        output.warn(
            "lists and downloads are one right here, so that both of them need a credential"
        )
    return loaded


def _prepare_log(settings: sections.Settings) -> None:
    """Set up a log in JSON, if the settings have one, and send all messages there."""
    # a collector of such a log reads standard error, where each line has to be JSON
    if settings.log.format == "json":
        configure_logging(settings.log)
        output.log_messages()


def _parse_actions(actions: str) -> frozenset[str]:
    """Return the actions that `-a` names, or raise UsageError if a word is none."""
    words = frozenset(word.strip().lower() for word in actions.split(","))
    if words == {NO_PROTECTION}:
        return frozenset()
    if not words <= PROTECTED_ACTIONS:
        raise click.UsageError("-a takes download, list and update, with commas; or a single dot.")
    return words


def run_index(
    loaded: LoadedSettings, options: WatchOptions, files: "tuple[SourcedTables, ...]" = ()
) -> None:
    """
    Run the server, and its watch threads, until a signal, once `files` are in force.

    Before a store is made, raises Invalid if settings or watched folders cannot be used, and
    Unavailable if an upstream index has to answer and does not. Raises WheelyardError if the server
    fails. With a log in JSON, the latter is logged instead, and SystemExit raised.
    """
    settings = loaded.settings
    if settings.server.read_only and options.places:
        message = "server.read_only: a server that only reads imports nothing."
        raise Invalid(f"{message} Leave the setting out, or --watch.", code="bad_setting")
    require_telemetry(settings)
    require_attestations(settings)
    sections.require_sign_in_secrets(settings)

    # these raise Invalid before a store is made
    _require_folders(options.places, settings.store.location)
    tls_files(settings)

    # an address and not a name, so that all worker processes listen on the same address
    settings = replace(settings, server=resolve_bind_address(settings.server))
    settings = _with_file_hosts(settings)
    try:
        run_server(settings, ServedIndex(settings, options, loaded.sources, files))
    except WheelyardError as fault:
        if settings.log.format != "json":
            raise
        logger.critical("%s", fault.message)
        raise SystemExit(1) from fault


def _with_file_hosts(settings: sections.Settings) -> sections.Settings:
    """
    Return the settings with the hosts of upstream files, which are read from a page if missing.

    The hosts are found once, for all worker processes. Raises Invalid or Unavailable if the index
    cannot be used.
    """
    if not settings.upstream.finds_file_hosts:
        return settings
    # nothing of upstream/ is loaded without an upstream index
    from wheelyard.wiring.upstream import with_file_hosts

    # with --upstream no setting can name the hosts, so that the server cannot start without the
    # page; otherwise a missing page is only a warning
    is_optional = click.get_current_context().params.get("upstream") is None
    settings, sentence = with_file_hosts(settings, system_runtime(), is_optional=is_optional)
    if settings.upstream.file_hosts is not None:
        output.print_message(logging.INFO, sentence)
    else:
        output.warn(sentence)
    return settings


def _require_folders(places: tuple[str, ...], store: str) -> None:
    """Raise Invalid for a folder that cannot be watched: a misspelled one must not look empty."""
    folders = [place for place in places if "://" not in place]
    if folders:
        from wheelyard.sources.bucket_tree import open_watched_tree

        for folder in folders:
            open_watched_tree(folder, (store,), keys.FILES, system_runtime())


class ServedIndex:
    """
    The work of `serve` and `run` in one process of their server, as a `ServerCommand`.

    The object is pickled for worker processes, so it has no open file and no thread at first.
    """

    def __init__(
        self,
        settings: sections.Settings,
        options: WatchOptions,
        sources: Mapping[sections.SettingPath, str],
        files: "tuple[SourcedTables, ...]" = (),
    ) -> None:
        self._files = files
        self._settings = settings
        self._options = options
        self._sources = sources
        self._place_options = shared_options.given_options(PLACE_OPTIONS)
        self._watchers: WatcherThreads | None = None

    def open_index(self) -> Index:
        """
        Open the index, import what `run` imports first, and print the start message.

        Unless the server only reads, a missing store is made, the files of `--apply` are put into
        force, and a first token may be made. Raises WheelyardError if a setting, the store or a
        watched place cannot be used.
        """
        settings = self._settings
        is_read_only = settings.server.read_only

        # made here, as a worker process that is not forked has no context of the command
        context = click.Context(serve_command)
        context.meta.update(self._place_options)

        # without cleanup, as the index stays open until the process ends
        with context.scope(cleanup=False):
            _prepare_log(settings)
            if is_read_only:
                index = open_index(settings, create=False, is_server=True)
            else:
                index = command_context.ensure_index(settings, is_server=True)
            index.server.sources = self._sources
            index.server.applied_files = self._applied_files(index)
            if index.server.applied_files is not None:
                from wheelyard.cli.apply_commands import apply_server_files

                apply_server_files(index.server.applied_files, is_read_only=is_read_only)
                # built again, as the files may have changed the definition of main
                index = index.server.indexes.main()
            if index.upstream is not None:
                # loaded before the first request, as a damaged database has to stop the start
                index.upstream.policy.load()
            self._watchers = self._build_watchers(index)
            if self._watchers and self._options.import_first:
                self._watchers.import_first()
            print_startup_message(index)
        return index

    def open_again(self) -> Index:
        """
        Open the index in another process of the server, and print nothing.

        Raises WheelyardError if it cannot be opened.
        """
        index = open_index(self._settings, create=False, is_server=True)
        index.server.sources = self._sources
        index.server.applied_files = self._applied_files(index)
        return index

    def _applied_files(self, index: Index) -> "AppliedFiles | None":
        """Return the object that applies the files of `--apply`, or None without files."""
        if not self._files:
            return None
        from wheelyard.operations.applied_files import AppliedFiles

        return AppliedFiles(index.server.applying, self._files, index.server.retries)

    def start_watching(self, index: Index) -> None:
        """
        Start the threads that watch folders and buckets, if there are any.

        Raises WheelyardError for a place that cannot be watched.
        """
        # only the process that opened the index first has its watchers already
        if self._watchers is None:
            self._watchers = self._build_watchers(index)
        if self._watchers is not None:
            self._watchers.start()

    def stop_watching(self) -> None:
        """
        Tell the watch threads, if there are any, to stop, and wait for them for a limited time.

        A thread whose store does not answer may still run afterwards.
        """
        if self._watchers is not None:
            self._watchers.stop()

    def _build_watchers(self, index: Index) -> "WatcherThreads | None":
        if not self._options.places:
            return None
        # imported only for --watch: it imports the archive reader
        from wheelyard.cli.watching import build_watchers

        options = self._options
        return build_watchers(index, options.places, lenient=options.lenient, every=options.every)


def _ignored_options() -> list[Option]:
    """Return the options of pypiserver that are accepted and have no effect."""
    options = list[Option]()
    for name in _IGNORED_OPTIONS:
        spellings = [f"--{name.replace('_', '-')}", name]
        if name in _IGNORED_FLAGS:
            spellings.insert(1, _IGNORED_FLAGS[name])
        options.append(Option(spellings, is_flag=name in _IGNORED_FLAGS, default=None, hidden=True))
    # without a warning, as it asks for what is always true here: no client is sent elsewhere
    options.append(Option(["--disable-fallback"], is_flag=True, hidden=True))
    return options


@cli_command(
    "run",
    Argument(["folders"], nargs=-1, metavar="[DIR]...", type=click.Path(path_type=Path)),
    Option(["-p", "--port"], type=int, help="Port to listen on.  [default: $PORT, else 8080]"),
    Option(
        ["-i", "-H", "--interface", "--host", "host"],
        help="Address to listen on.  [default: 0.0.0.0, which is every address]",
    ),
    WORKERS,
    shared_options.LENIENT,
    UPSTREAM,
    ACCESS,
    _ignored_options(),
    shared_options.store_options("$WHEELYARD_STORE, else DIR/.wheelyard"),
    examples=(
        "wheelyard run ~/packages",
        "wheelyard run -p 8080 -P .htpasswd -a update,download,list ~/packages",
    ),
    page="migration/pypiserver.md",
)
def run_command(folders: tuple[Path, ...], **options: Any) -> None:  # noqa: ANN401 - click's
    """
    Import the packages in each DIR, and run the index, with the options of pypiserver.

    New files in DIR are imported later, too.

    DIR is ~/packages by default. The store is .wheelyard in the first DIR, unless --store or a
    setting names another.
    """
    if not folders:
        folders = (Path("~/packages"),)
    packages = [folder.expanduser() for folder in folders]
    overrides = overrides_of(options)
    defaults: dict[str, dict[str, object]] = {
        "server": {"host": ALL_INTERFACES},
        "store": {"location": str(packages[0] / STORE_FOLDER)},
        # in pypiserver, a user who may publish may also delete
        "access": {"htpasswd_may": ["manage"]},
    }

    # a variable of the image of pypiserver, which its users may have set
    port = process_environment().get("PYPISERVER_PORT")
    if port:
        defaults["server"]["port"] = port
    settings = server_settings(options, overrides, defaults)
    for name, why in _IGNORED_OPTIONS.items():
        if options[name] is not None:
            output.warn(f"--{name.replace('_', '-')} does nothing here: {why}")

    # imported before the start, as pypiserver serves all files from its start on
    watched = WatchOptions(
        places=tuple(map(str, packages)), lenient=options["lenient"], import_first=True
    )
    run_index(settings, watched)
