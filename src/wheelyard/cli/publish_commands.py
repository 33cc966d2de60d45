"""`wheelyard upload` and `wheelyard import`, and the imports of `serve --watch`."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from glob import glob, has_magic
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final

import click
from click import Argument, Option
from msgspec import Struct

from wheelyard.api.table import LocalApi
from wheelyard.catalog import keys
from wheelyard.cli.options import (
    PACKAGES,
    STORE,
    Api,
    command_settings,
    ensure_index,
    is_store_given,
    local_api,
    local_caller,
    remote_api,
    warn_without_upstream,
)
from wheelyard.cli.output import (
    LENIENT,
    OUTPUT,
    Progress,
    cli_command,
    complete_path,
    echo,
    is_terminal,
    print_line,
    print_message,
    print_result,
    printable,
    resumable,
    shown_progress,
)
from wheelyard.cli.program import URL_VARIABLE, default_index, error_text
from wheelyard.errors import Invalid, Unauthenticated, WheelyardError
from wheelyard.http_client.urls import UserPassword, redact_url
from wheelyard.model.access import Caller
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import read_index_name
from wheelyard.operations.attestation_files import read_attestations, without_attestation_files
from wheelyard.operations.importing.parallel_import import FolderWatch, Importer
from wheelyard.operations.importing.project_import import (
    FileStatus,
    ImportProgress,
    Outcome,
    Report,
)
from wheelyard.operations.uploads import PublishedFile
from wheelyard.settings.load import process_environment
from wheelyard.settings.sections import Settings
from wheelyard.sources.bucket_tree import open_watched_tree
from wheelyard.sources.file_tree import FileTreeSource, FolderTree
from wheelyard.sources.source_factory import AUTO, KIND_TITLES, KINDS, SourceRequest, open_source
from wheelyard.wiring.build import index_without_store, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import has_store, system_runtime

if TYPE_CHECKING:
    from wheelyard.cli.serve import WatchOptions
    from wheelyard.sources.source_factory import OpenedSource


NO_SERVER_CODES: Final = frozenset({"server_unavailable", "no_index"})
"""Error codes of a server that takes no file, so that further files are not sent to it."""


@cli_command(
    "upload",
    Argument(["files"], nargs=-1, required=True, type=click.Path(path_type=Path)),
    Option(
        ["--export", "dest"],
        metavar="DEST",
        shell_complete=complete_path,
        help="Refresh this static site afterwards.",
    ),
    Option(
        ["--no-attestations"],
        is_flag=True,
        help="Do not send the attestations that lie beside a file.",
    ),
    *OUTPUT,
    *PACKAGES,
    examples=(
        "wheelyard upload dist/*",
        "wheelyard upload dist/* --export /srv/www/packages",
        "wheelyard upload --server https://packages.acme.dev dist/*",
    ),
    page="publish.md",
)
def upload_command(files: tuple[Path, ...], dest: str | None, *, no_attestations: bool) -> int:
    """
    Publish FILES (wheels and sdists) directly into a store, or to a server.

    For each file it says 'uploaded', or 'already there' if the index has it with the same content.
    Attestations that lie beside it (FILE.KIND.attestation) are sent with it.

    With --export, all changes are then exported to DEST, with the options of its last
    'wheelyard export'. A new site gets every project, and copies of the files.
    """
    index = remote_api() or local_api(ensure_index(command_settings()))
    if isinstance(index, LocalApi):
        warn_without_upstream(index.index)
    exported = None if dest is None else _exported(index, dest)
    paths = without_attestation_files(path for pattern in files for path in _matching(pattern))
    results = _upload(index, paths, sends_attestations=not no_attestations)
    accepted = [result.filename for result in results if result.filename]
    status = 0 if len(accepted) == len(results) else 1
    site = dict[str, object]()
    if dest is not None and exported is not None and accepted:
        from wheelyard.cli.store_commands import refresh

        export_status, site = refresh(exported, dest)
        status = max(status, export_status)
    print_result({"files": results, **({"export": site} if site else {})})
    return status


class _Uploading(Struct, frozen=True):
    """The uploads of one command, which threads do."""

    index: Api
    existing: frozenset[Path]
    sends_attestations: bool
    progress: Progress
    has_ended: Event

    def upload(self, path: Path) -> PublishedFile:
        """Upload one file."""
        if path not in self.existing:
            raise _no_file(path)  # a missing file is reported before an invalid filename
        attestations = read_attestations(path) if self.sends_attestations else ""
        return self.index.upload(path, self.advance, attestations)

    def advance(self, size: int) -> None:
        """Show how much was sent, and raise Abort if the command has ended."""
        if self.has_ended.is_set():  # after Ctrl-C, a large file is not sent to its end
            raise click.Abort
        self.progress.advance(size)


def _upload(index: Api, paths: list[Path], *, sends_attestations: bool) -> list["FileResult"]:
    """Upload the files, print the result of each, and return the results."""
    existing = frozenset(path for path in paths if os.path.isfile(path))  # noqa: PTH113 - raises nothing
    size = sum(path.stat().st_size for path in existing)
    pool = ThreadPoolExecutor(index.concurrent_uploads)
    with shown_progress("upload", total=size, is_size=True) as progress:
        uploading = _Uploading(index, existing, sends_attestations, progress, Event())
        # all are under way at once, and their results are printed in the order of the command line
        futures = [pool.submit(uploading.upload, path) for path in paths]
        try:
            return [
                _print_result(path, future) for path, future in zip(paths, futures, strict=True)
            ]
        finally:
            uploading.has_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C


def _exported(index: Api, dest: str) -> Index:
    """
    Return the index whose site is `dest`.

    It is asked for before the upload. Raises WheelyardError or UsageError if there can be no site.
    """
    from wheelyard.cli.store_commands import require_site

    if not isinstance(index, LocalApi):
        message = "--export needs the store itself. Leave --server out, or export where it is."
        raise click.UsageError(message)
    require_site(index.index, dest)
    return index.index


def _matching(path: Path) -> list[Path]:
    """Return the path, or if it does not exist, the files that it matches as a pattern."""
    if os.path.lexists(path):
        return [path]
    # no shell has expanded the pattern, as on Windows
    matches = glob(str(path))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [Path(match) for match in sorted(matches)] or [path]


def _no_file(path: Path) -> Invalid:
    name, remedy = escaped(str(path)), "Name the wheels and sdists themselves."
    if os.path.lexists(path):
        what = f"{name} is no file."
    elif has_magic(name):
        what, remedy = (
            "Nothing matched this pattern.",
            "Build the project first, or look elsewhere.",
        )
    else:
        what = f"There is no file {name}."
    return Invalid(f"{what} {remedy}", code="invalid_filename")


class FileResult(Struct, omit_defaults=True):
    """The result of one file, as `--json` prints it."""

    path: str
    status: str
    """`uploaded`, `there` or `refused`."""
    filename: str = ""
    """Empty if it was refused. Then there are an error code and a message."""
    sha256: str = ""
    warnings: tuple[str, ...] = ()
    attested: bool = False
    """Whether a file that was there got its attestations now."""
    error: str = ""
    message: str = ""


def _print_result(path: Path, future: Future[PublishedFile]) -> FileResult:
    """
    Wait for a file's upload, print the result, and return it.

    Raises the errors of a server that would refuse all further files, too.
    """
    try:
        file = future.result()
    except WheelyardError as fault:
        if isinstance(fault, Unauthenticated) or fault.code in NO_SERVER_CODES:
            raise
        name = path.name if path.name and not has_magic(path.name) else str(path)
        message = printable(error_text(fault))
        echo(f"wheelyard: {escaped(name)}: {message}", err=True)
        return FileResult(printable(str(path)), "refused", error=fault.code, message=message)
    filename = escaped(file.filename)
    what = "uploaded" if file.status == "uploaded" else "already there"
    if file.attested:
        what += ", its attestations were added"
    print_line(f"{filename}  sha256:{escaped(file.sha256)}  {what}")
    for warning in file.warnings:
        echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    return FileResult(
        printable(str(path)),
        file.status,
        file.filename,
        file.sha256,
        warnings=file.warnings,
        attested=file.attested,
    )


def build_importer(index: Index, *, is_local: bool, lenient: bool) -> Importer:
    """
    Return an importer into an index.

    `is_local`: the source is on this machine. `lenient`: rules that old files break are waived.
    """
    uploads = index.uploads.with_waivers if lenient else index.uploads
    return Importer(uploads, is_local=index.server.is_local and is_local)


def import_source(
    importer: Importer,
    source: "FileTreeSource | OpenedSource",
    caller: Caller,
    *,
    projects: tuple[str, ...] = (),
    dry_run: bool = False,
) -> Report:
    """
    Import a source, print why files were not taken, and return the report.

    Without patterns of names in `projects`, all projects are imported.

    Raises as `Importer.run`.
    """
    total = source.total() if is_terminal() else None

    stays = "What was imported stays; import again to go on from there."
    with resumable(stays), shown_progress("import", total=total) as progress:
        printer = _ProgressPrinter(progress)
        return importer.run(source, caller, projects=projects, dry_run=dry_run, progress=printer)


class _ProgressPrinter(ImportProgress):
    """Updates the progress line of an import, and prints why files were not taken."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = Lock()
        self._size = 0

    def read(self, size: int) -> None:
        """Add `size` read bytes to the progress line, in any thread of the import."""
        with self._lock:
            self._size += size
        self._progress.update(part=f"{self._size / 1e6:,.1f} MB")

    def done(self, outcome: Outcome) -> None:
        """
        Count an entry on the progress line, unless it was passed over.

        Print a refusal and a warning.
        """
        if outcome.status in {FileStatus.REFUSED, FileStatus.SKIPPED}:
            what = "skipped" if outcome.status is FileStatus.SKIPPED else "not imported"
            echo(f"wheelyard: {escaped(outcome.location)} was {what}: {outcome.why}", err=True)
        if outcome.warning:
            fact = f"{outcome.warning}. The file is imported all the same."
            echo(f"wheelyard: warning: {escaped(outcome.location)}: {fact}", err=True)
        if outcome.status is not FileStatus.PASSED_OVER:
            self._progress.advance(1)


USERNAME: Final = "WHEELYARD_IMPORT_USERNAME"
PASSWORD: Final = "WHEELYARD_IMPORT_PASSWORD"  # noqa: S105 - the name of a variable
"""Variables with the credentials of the other index, besides its URL and netrc."""


@cli_command(
    "import",
    Argument(["source"], metavar="SOURCE", shell_complete=complete_path),
    Option(["--dry-run"], is_flag=True, help="Read and check everything, and write nothing."),
    LENIENT,
    Option(
        ["--from", "kind"],
        type=click.Choice(KINDS),
        default=AUTO,
        show_default=True,
        help="What SOURCE is.",
    ),
    Option(["--project", "projects"], multiple=True, metavar="PATTERN", help="Only these."),
    Option(["--meta"], default="", metavar="PLACE", help="backupni: where the .meta files are."),
    Option(
        ["--packages-url"],
        default="",
        metavar="PLACE",
        help="dumb-pypi: where the files of a list are.",
    ),
    Option(["--index", "indexes"], multiple=True, metavar="USER/INDEX", help="devpi: only these."),
    Option(
        ["--into"],
        default=default_index,
        metavar="INDEX",
        help="The index of the store that gets the files.  [default: $WHEELYARD_INDEX, else main]",
    ),
    Option(["--mirrors"], is_flag=True, help="devpi: the mirrored files, too."),
    Option(
        ["--allow-private"],
        is_flag=True,
        help="Follow links to private addresses of other hosts than SOURCE's, too.",
    ),
    *OUTPUT,
    *STORE,
    examples=(
        "wheelyard import ~/packages --dry-run",
        "wheelyard import https://packages.example.com/simple/ --project 'acme-*'",
        "wheelyard import s3://old-packages/pypi --lenient",
    ),
    page="importing.md",
)
def import_command(**options: Any) -> int:  # noqa: ANN401 - click's; each goes where it is parsed
    """
    Import SOURCE: a folder, a bucket, a package list, or another index's URL.

    SOURCE is not changed. Files that the index has already are skipped, so the command can be run
    again at any time. For each file that cannot be imported, the reason is printed, and the import
    continues.
    """
    if process_environment().get(URL_VARIABLE) and not is_store_given():
        raise Invalid(
            f"An import writes into a store, and {URL_VARIABLE} names a server. Name the store of "
            "that server with --store."
        )
    settings, dry_run = command_settings(), options["dry_run"]
    opened = open_source(_request(options, settings), system_runtime())
    try:
        if options["kind"] == AUTO:
            print_message(logging.INFO, f"reading {KIND_TITLES[opened.kind]}")
        if not dry_run:
            index = ensure_index(settings, options["into"])
        elif has_store(settings):
            index = open_index(settings, create=False).named(read_index_name(options["into"]))
        else:
            index = index_without_store(settings).named(read_index_name(options["into"]))
        warn_without_upstream(index)
        is_local = "://" not in options["source"] + options["packages_url"]
        importer = build_importer(index, is_local=is_local, lenient=options["lenient"])
        caller, projects = local_caller(index), opened.projects
        report = import_source(importer, opened, caller, projects=projects, dry_run=dry_run)
    finally:
        opened.close()
    summary = f"{redact_url(options['source'])}: {report.summary(dry_run=dry_run)}"
    waived = [f"excused: {rule} ({count})" for rule, count in sorted(report.waived_rules.items())]
    print_result(_described(report, opened.kind, dry_run=dry_run), [summary, *waived])
    return 1 if report.counts[FileStatus.REFUSED] else 0


def _request(options: Mapping[str, Any], settings: Settings) -> SourceRequest:
    environ = process_environment()
    username, password = environ.get(USERNAME, ""), environ.get(PASSWORD, "")
    netrc = environ.get("NETRC")  # as for curl and pip
    same = ("kind", "meta", "packages_url", "indexes", "mirrors", "projects", "allow_private")
    return SourceRequest(
        text=options["source"],
        excluded=(Path(settings.store.location),),
        # either of them alone may be a token
        login=UserPassword(username, password) if username or password else None,
        netrc=Path(netrc).expanduser() if netrc else None,
        **{name: options[name] for name in same},
    )


def _described(report: Report, kind: str, *, dry_run: bool) -> dict[str, object]:
    return {
        "source": kind,
        "dry-run": dry_run,
        **{status.value.replace("_", "-"): report.counts[status] for status in FileStatus},
        "excused": dict(sorted(report.waived_rules.items())),
        "refusals": [
            {
                "place": printable(outcome.location),
                "error": outcome.code,
                "message": printable(outcome.why),
            }
            for outcome in report.refused
        ],
        "skips": [printable(outcome.location) for outcome in report.skipped],
        "warnings": [
            {"place": printable(outcome.location), "message": printable(outcome.warning)}
            for outcome in report.warned
        ],
    }


FOLDER_INTERVAL_SECONDS: Final = 2.0
BUCKET_INTERVAL_SECONDS: Final = 60.0
"""Seconds between two scans. Scans of a bucket cost money."""
STOP_TIMEOUT_SECONDS: Final = 2.0
"""Seconds to finish the current import. After a crash the next one continues there."""


class WatcherThreads(Struct, frozen=True):
    """The watch threads of a server, one for each folder or bucket."""

    watches: tuple[FolderWatch, ...]
    _threads: list[Thread] = []

    def import_first(self) -> None:
        """
        Import the existing files of the watched folders now, with progress, and print a summary.

        The threads will skip all existing files, also those of buckets, which are not imported
        here. Raises as `Importer.run`.
        """
        for watch in self.watches:
            watch.skip_existing()
            if isinstance(watch.tree, FolderTree):
                source = FileTreeSource(watch.tree)
                report = import_source(watch.importer, source, watch.caller)
                click.echo(f"{escaped(str(watch.tree))}: {report.summary()}")

    def start(self) -> None:
        """Start the threads."""
        for watch in self.watches:
            # daemon: a store that does not answer must not keep the server from ending
            self._threads.append(Thread(target=watch.run, name="watch", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """
        Tell the threads to stop and abort their scans, and wait for them for a limited time.

        One whose store does not answer may still run afterwards. What a scan has committed stays,
        and the next process goes on from there.
        """
        for watch in self.watches:
            watch.stop()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_SECONDS / len(self._threads))


def build_watchers(index: Index, options: "WatchOptions") -> WatcherThreads:
    """
    Return the threads, not started, for the watched locations.

    Raises WheelyardError for a location that cannot be watched.
    """
    location, caller = index.settings.store.location, local_caller(index)
    stores = [place for place in (location, index.server.traits.files) if place]
    watches = list[FolderWatch]()
    for text in dict.fromkeys(options.places):
        tree = open_watched_tree(text, stores, keys.FILES, index.server.runtime)
        is_folder = isinstance(tree, FolderTree)
        default = FOLDER_INTERVAL_SECONDS if is_folder else BUCKET_INTERVAL_SECONDS
        importer = build_importer(index, is_local=is_folder, lenient=options.lenient)
        watches.append(
            FolderWatch(
                tree=tree,
                importer=importer,
                caller=caller,
                runtime=index.server.runtime,
                interval=options.every or default,
                is_atomic=not is_folder,
            )
        )
    return WatcherThreads(tuple(watches))
