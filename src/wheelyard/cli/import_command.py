"""`wheelyard import`, and imports of one source for `serve --watch`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import click
from click import Argument, Option

from wheelyard.cli import command_context, output, shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.program import URL_VARIABLE, default_index
from wheelyard.cli.progress import Progress, show_progress
from wheelyard.cli.standard_streams import is_terminal
from wheelyard.errors import Invalid
from wheelyard.http_client.urls import UserPassword, redact_url
from wheelyard.model.access import Caller
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import read_index_name
from wheelyard.operations.importing import project_import
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.settings.load import process_environment
from wheelyard.settings.sections import Settings
from wheelyard.sources import source_factory
from wheelyard.sources.file_tree import FileTreeSource
from wheelyard.wiring.build import index_without_store, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import has_all_folders, system_runtime

if TYPE_CHECKING:
    from wheelyard.sources.source_factory import OpenedSource


USERNAME: Final = "WHEELYARD_IMPORT_USERNAME"
PASSWORD: Final = "WHEELYARD_IMPORT_PASSWORD"  # noqa: S105 - the name of a variable
"""Variables with the credentials of the source, which its URL and netrc may have, too."""


@cli_command(
    "import",
    Argument(["source"], metavar="SOURCE", shell_complete=shared_options.complete_path),
    Option(["--dry-run"], is_flag=True, help="Read and check everything, and write nothing."),
    shared_options.LENIENT,
    Option(
        ["--from", "kind"],
        type=click.Choice(source_factory.KINDS),
        default=source_factory.AUTO,
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
    shared_options.OUTPUT,
    shared_options.STORE,
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
    if process_environment().get(URL_VARIABLE) and not command_context.is_store_given():
        raise Invalid(
            f"An import writes into a store, and {URL_VARIABLE} names a server. Name the store of "
            "that server with --store."
        )
    settings = command_context.command_settings()
    dry_run = options["dry_run"]

    # opened before the store, which is not made for a source that cannot be read
    opened_source = source_factory.open_source(_source_request(options, settings), system_runtime())
    try:
        if options["kind"] == source_factory.AUTO:
            output.print_message(
                logging.INFO, f"reading {source_factory.KIND_TITLES[opened_source.kind]}"
            )
        index = _index_for_import(settings, options["into"], dry_run=dry_run)
        command_context.warn_without_upstream(index)
        is_local = "://" not in options["source"] + options["packages_url"]
        importer = build_importer(index, is_local=is_local, lenient=options["lenient"])
        caller = command_context.local_caller(index)
        report = import_source(
            importer, opened_source, caller, projects=opened_source.projects, dry_run=dry_run
        )
    finally:
        opened_source.close()

    # a URL may have a password in it
    lines = [f"{redact_url(options['source'])}: {report.summary(dry_run=dry_run)}"]
    for rule, count in sorted(report.waived_rules.items()):
        lines.append(f"excused: {rule} ({count})")
    output.print_result(_report_json(report, opened_source.kind, dry_run=dry_run), lines)
    return int(report.counts[project_import.FileStatus.REFUSED] > 0)


def _index_for_import(settings: Settings, name: str, *, dry_run: bool) -> Index:
    """Return the index that gets the files. A dry run makes no store, and needs none."""
    if not dry_run:
        return command_context.ensure_index(settings, name)
    if has_all_folders(settings):
        return open_index(settings, create=False).named(read_index_name(name))
    return index_without_store(settings).named(read_index_name(name))


def _source_request(options: Mapping[str, Any], settings: Settings) -> source_factory.SourceRequest:
    """Return the request for a source, with its credentials from the environment."""
    environ = process_environment()
    username = environ.get(USERNAME, "")
    password = environ.get(PASSWORD, "")
    credentials = None

    # one of them alone is enough, as it may be a token
    if username or password:
        credentials = UserPassword(username, password)
    netrc_path = None

    # curl and pip take it from this variable, too
    if environ.get("NETRC"):
        netrc_path = Path(environ["NETRC"]).expanduser()
    return source_factory.SourceRequest(
        text=options["source"],
        # a folder that has the store in it is imported without the store
        excluded=(Path(settings.store.location),),
        login=credentials,
        netrc=netrc_path,
        kind=options["kind"],
        meta=options["meta"],
        packages_url=options["packages_url"],
        indexes=options["indexes"],
        mirrors=options["mirrors"],
        projects=options["projects"],
        allow_private=options["allow_private"],
    )


def _report_json(report: project_import.Report, kind: str, *, dry_run: bool) -> dict[str, object]:
    """Return a report as `--json` prints it."""
    described: dict[str, object] = {"source": kind, "dry-run": dry_run}
    for status in project_import.FileStatus:
        described[status.value.replace("_", "-")] = report.counts[status]
    described["excused"] = dict(sorted(report.waived_rules.items()))
    refusals = []
    for outcome in report.refused:
        place = output.printable(outcome.location)
        message = output.printable(outcome.why)
        refusals.append({"place": place, "error": outcome.code, "message": message})
    described["refusals"] = refusals
    described["skips"] = [output.printable(outcome.location) for outcome in report.skipped]
    warnings = []
    for outcome in report.warned:
        place = output.printable(outcome.location)
        warnings.append({"place": place, "message": output.printable(outcome.warning)})
    described["warnings"] = warnings
    return described


def build_importer(index: Index, *, is_local: bool, lenient: bool) -> Importer:
    """
    Return an importer into an index.

    `is_local` is true for a source on this machine. If `lenient`, rules that old files break are
    waived.
    """
    uploads = index.uploads.with_waivers if lenient else index.uploads
    # on one machine an import works with fewer threads than over a network
    return Importer(uploads, is_local=index.server.is_local and is_local)


def import_source(
    importer: Importer,
    source: "FileTreeSource | OpenedSource",
    caller: Caller,
    *,
    projects: tuple[str, ...] = (),
    dry_run: bool = False,
) -> project_import.Report:
    """
    Import a source, print why files were not taken, and return the report.

    Without patterns of names in `projects`, all projects are imported. With `dry_run`, nothing is
    written.

    Raises Unavailable if the store does not answer, and WheelyardError if the source cannot be
    listed.
    """
    # counted for a terminal alone, where the progress line says how much time is left
    total = source.total() if is_terminal() else None

    advice = "What was imported stays; import again to go on from there."
    with output.resumable(advice), show_progress("import", total=total) as progress:
        printer = _ProgressPrinter(progress)
        return importer.run(source, caller, projects=projects, dry_run=dry_run, progress=printer)


class _ProgressPrinter(project_import.ImportProgress):
    """Updates the progress line of an import, and prints why files were not taken."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = Lock()
        self._size = 0

    def read(self, size: int) -> None:
        """Add `size` read bytes to the progress line, in any thread of the import."""
        # several threads of the import read files at once
        with self._lock:
            self._size += size
        self._progress.update(part=f"{self._size / 1e6:,.1f} MB")

    def done(self, outcome: project_import.Outcome) -> None:
        """
        Print a refused or skipped entry, and a warning, and count the entry on the progress line.

        An entry that was passed over is not counted.
        """
        location = escaped(outcome.location)
        if outcome.status is project_import.FileStatus.REFUSED:
            output.echo(f"wheelyard: {location} was not imported: {outcome.why}", err=True)
        elif outcome.status is project_import.FileStatus.SKIPPED:
            output.echo(f"wheelyard: {location} was skipped: {outcome.why}", err=True)
        if outcome.warning:
            sentence = f"{outcome.warning}. The file is imported all the same."
            output.echo(f"wheelyard: warning: {location}: {sentence}", err=True)
        # the total of the source has distributions alone
        if outcome.status is not project_import.FileStatus.PASSED_OVER:
            self._progress.advance(1)
