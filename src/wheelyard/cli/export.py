"""`wheelyard export`: the index as plain files, for any web server or a public bucket."""

import click
from click import Argument, Option

from wheelyard.cli.command import OUTPUT, cli_command, complete_path
from wheelyard.cli.options import STORE, existing_index
from wheelyard.cli.output import print_line, print_result, printable, progress_bar, warn
from wheelyard.errors import Invalid, quoted
from wheelyard.exporting.destination import open_export
from wheelyard.exporting.export import Export, ExportResult
from wheelyard.exporting.manifest import RequestedOptions
from wheelyard.model.decoding import counted, escaped
from wheelyard.settings.sections import MEMORY_LOCATION
from wheelyard.settings.validation import is_public
from wheelyard.settings.value_checks import is_url
from wheelyard.wiring.index import Index


@cli_command(
    "export",
    Argument(["dest"], metavar="DEST", shell_complete=complete_path),
    Option(["--files"], metavar="copy|URL"),
    Option(["--base-url"], metavar="URL"),
    Option(["--gzip/--no-gzip", "is_gzipped"], default=None),
    Option(["--all", "everything"], is_flag=True),
    *OUTPUT,
    *STORE,
)
def export_command(
    *, dest: str, files: str | None, base_url: str | None, is_gzipped: bool | None, everything: bool
) -> int:
    """
    Write the index to DEST, a folder or a bucket, for any web server.

    Only what has changed since the last export is written; options that are not given stay as they
    were then. With --all, every page is made again, which repairs a damaged site. Anyone who can
    read DEST can read everything in it.

    Options:
        --files: Copy distributions to the site, or leave them where URL serves them.
        --base-url: What the site is served as.
        --gzip: Compress pages, too.
        --all: Make every page again, over whatever is there.

    Examples:
        wheelyard export /srv/www/packages --base-url https://packages.example.com
        wheelyard export s3://acme-site
        wheelyard export site --all

    Documentation: docs/static-site.md
    """
    requested = RequestedOptions(
        base_url=base_url and _url(base_url, "--base-url"),
        files_url="" if files == "copy" else files and _url(files, "--files"),
        is_gzipped=is_gzipped,
    )
    index = existing_index()
    if index.settings.store.location == MEMORY_LOCATION:
        message = "A store in memory is empty, so there is nothing to export."
        raise Invalid(f"{message} Name another with --store.", code="bad_setting")
    export = _open(index, dest, requested)
    _warn_if_private(index, dest)
    columns = ("BarColumn", "MofNCompleteColumn", "TimeRemainingColumn")
    with progress_bar("export", *columns) as update:
        result = export.run(
            lambda count, total: update(completed=count, total=total), everything=everything
        )
    print_result(_described(dest, result))
    if index.upstream is not None and not result.options.has_public:
        warn("public packages are left out, as their files are not where --files says")
    return _print_summary(dest, result)


def require_site(index: Index, dest: str) -> None:
    """
    Raise WheelyardError unless a site can be written to `dest`; warn if the index is private.

    A folder that is missing is created.
    """
    _open(index, dest, RequestedOptions()).check_destination()
    _warn_if_private(index, dest)


def refresh(index: Index, dest: str) -> tuple[int, dict[str, object]]:
    """Bring a site up to date, and print a summary; return the exit status, and the JSON."""
    export = _open(index, dest, RequestedOptions())
    result = export.run(lambda *_: None)
    return _print_summary(dest, result), _described(dest, result)


def _open(index: Index, dest: str, requested: RequestedOptions) -> Export:
    waiting = f"{escaped(dest)}: another export is writing this site; waiting for its end"
    return open_export(index, dest, requested, lambda: print_line(waiting))


def _warn_if_private(index: Index, dest: str) -> None:
    """Print a warning if the index is private, because a site needs no credential."""
    if not is_public(index.settings):
        warn(
            "reading this index needs a credential, and a site asks for none: whoever can read "
            f"{dest} reads everything; let the web server there ask for a password"
        )


def _print_summary(dest: str, result: ExportResult) -> int:
    if not result.options.base_url:
        warn("without --base-url, the URLs in /pypi/NAME/json begin at the root of the host")
    print_line(
        f"{escaped(dest)}: {counted(result.total, 'project')}, {result.projects} of them exported "
        f"anew, {counted(result.written, 'page')} written"
    )
    for message in result.failed:
        click.echo(f"wheelyard: {message}", err=True)
    return 1 if result.failed else 0


def _described(dest: str, result: ExportResult) -> dict[str, object]:
    return {
        "site": printable(dest),
        "projects": result.total,
        "exported": result.projects,
        "pages": result.written,
        "failed": result.failed,
    }


def _url(text: str, option: str) -> str:
    if is_url(text):
        return text.rstrip("/")
    also = "copy, or " if option == "--files" else ""
    raise Invalid(
        f"{option} {quoted(text)} is no address. Write {also}a URL such as "
        "https://packages.example.com/files.",
        code="bad_setting",
    )
