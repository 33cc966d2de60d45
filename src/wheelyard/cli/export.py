"""`wheelyard export`: the index as plain files, for any web server or a public bucket."""

import os
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

import click
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from wheelyard.cli.help_text import complete_path, examples
from wheelyard.cli.options import existing_index, store_options
from wheelyard.cli.output import (
    output_options,
    print_json,
    print_line,
    printable,
    progress_bar,
    warn,
)
from wheelyard.errors import Invalid, quoted
from wheelyard.model.text import counted, escaped
from wheelyard.operations.exporting.incremental_export import ExportResult, IncrementalExport
from wheelyard.operations.exporting.manifest import FileMode, RequestedOptions, store_fingerprint
from wheelyard.settings.sections import MEMORY_LOCATION
from wheelyard.settings.validation import is_public
from wheelyard.storage.gcs.location import is_bucket, parse_location
from wheelyard.wiring.index import Index
from wheelyard.wiring.site_export import SiteExporter


@examples(
    "static-site.md",
    "wheelyard export /srv/www/packages --base-url https://packages.example.com",
    "wheelyard export gs://acme-site --gzip",
    "wheelyard export site --files link --all",
)
@click.command("export")
@click.argument("dest", metavar="DEST", shell_complete=complete_path)
@click.option(
    "--files",
    metavar="copy|link|URL",
    help="Copy distributions to the site, link them, or leave them where URL serves them.",
)
@click.option("--base-url", metavar="URL", help="What the site is served as.")
@click.option("--gzip/--no-gzip", "is_gzipped", default=None, help="Compress pages, too.")
@click.option(
    "--all", "everything", is_flag=True, help="Write every page again, over whatever is there."
)
@output_options
@store_options
def command(
    *, dest: str, files: str | None, base_url: str | None, is_gzipped: bool | None, everything: bool
) -> int:
    """
    Write the index to DEST, a folder or gs://BUCKET/PREFIX, for any web server.

    Only what has changed since the last export is written; options that are not given stay as they
    were then. With --all, every page is written again, which repairs a damaged site. Anyone who can
    read DEST can read everything in it.
    """
    asked = _requested_options(files, base_url, is_gzipped=is_gzipped)
    index = existing_index()
    if index.settings.store.location == MEMORY_LOCATION:
        message = "A store in memory is empty, so there is nothing to export."
        raise Invalid(f"{message} Name another with --store.", code="bad_setting")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    exporter = _exporter(index, dest, asked, processors)
    export = exporter.open()
    _warn_if_private(index, dest)
    exporter.remove_public(export)
    columns = ("BarColumn", "MofNCompleteColumn", "TimeRemainingColumn")
    with progress_bar("export", *columns) as update:
        done = export.run(
            lambda count, total: update(completed=count, total=total), everything=everything
        )
        public = exporter.export_public(export, everything=everything)
    shown = {} if public is None else {"public": asdict(public)}
    print_json({**_described(dest, export, done), **shown})
    if index.upstream is not None and public is None:
        warn("public packages are left out, as their files are not where --files says")
    status = _print_summary(dest, export, done)
    if public is not None:
        projects = counted(public.projects, "public project")
        print_line(
            f"{escaped(dest)}: {projects}, {public.changed} of them exported anew, "
            f"{public.removed} removed"
        )
    return status


def _requested_options(
    files: str | None, base_url: str | None, *, is_gzipped: bool | None
) -> RequestedOptions:
    base = base_url and _url(base_url, "--base-url")
    if files is None or files in ("copy", "link"):
        placing = None if files is None else FileMode(files)
        return RequestedOptions(base_url=base, files=placing, is_gzipped=is_gzipped)
    url = _url(files, "--files")
    left = FileMode.LEAVE
    return RequestedOptions(base_url=base, files=left, files_url=url, is_gzipped=is_gzipped)


def require_site(index: Index, dest: str) -> None:
    """
    Raise WheelyardError unless a site can be written to `dest`; warn if the index is private.

    A folder that is missing is created.
    """
    _exporter(index, dest, RequestedOptions()).open().check_destination()
    _warn_if_private(index, dest)


def refresh(
    index: Index, dest: str, names: Iterable[NormalizedName]
) -> tuple[int, dict[str, object]]:
    """
    Export the projects `names` to a site, print a summary; return the exit status, and the JSON.

    All projects are exported if the site is new or its options have changed.
    """
    exporter, projects = _exporter(index, dest, RequestedOptions()), tuple(names)
    export = exporter.open()
    done = export.export_projects(projects)
    if index.upstream is not None:  # names that were public before
        exporter.remove_public(export, projects)
    return _print_summary(dest, export, done), _described(dest, export, done)


def _exporter(index: Index, dest: str, asked: RequestedOptions, workers: int = 1) -> SiteExporter:
    location = index.settings.store.location
    store = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    asked = replace(asked, store=store_fingerprint(store))
    return SiteExporter(index=index, dest=dest, requested=asked, processors=workers)


def _warn_if_private(index: Index, dest: str) -> None:
    """Print a warning if the index is private, because a site needs no credential."""
    if not is_public(index.settings):
        warn(
            "reading this index needs a credential, and a site asks for none: whoever can read "
            f"{dest} reads everything; let the web server there ask for a password"
        )


def _print_summary(dest: str, export: IncrementalExport, done: ExportResult) -> int:
    if not export.options.base_url:
        warn("without --base-url, the URLs in /pypi/NAME/json begin at the root of the host")
    print_line(
        f"{escaped(dest)}: {counted(done.total, 'project')}, {done.projects} of them exported "
        f"anew, {counted(export.writer.written, 'page')} written"
    )
    for message in done.failed:
        click.echo(f"wheelyard: {message}", err=True)
    return 1 if done.failed else 0


def _described(dest: str, export: IncrementalExport, done: ExportResult) -> dict[str, object]:
    return {
        "site": printable(dest),
        "projects": done.total,
        "exported": done.projects,
        "pages": export.writer.written,
        "failed": done.failed,
    }


def _url(text: str, option: str) -> str:
    with suppress(ValueError):  # for unclosed brackets
        parts = urlsplit(text)
        is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme in ("http", "https") and parts.netloc and is_plain:
            return text.rstrip("/")
    also = "copy, link, or " if option == "--files" else ""
    raise Invalid(
        f"{option} {quoted(text)} is no address. Write {also}a URL such as "
        "https://packages.example.com/files.",
        code="bad_setting",
    )
