"""`wheelyard upload`: publish files directly into a store."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from glob import glob, has_magic
from pathlib import Path
from typing import Final

import click
from msgspec import Struct

from wheelyard.cli.help_text import complete_path, examples
from wheelyard.cli.options import command_settings, ensure_index, local_caller, store_options
from wheelyard.cli.output import output_options, print_json, print_line, printable, progress_bar
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.text import escaped
from wheelyard.operations.upload import UploadResult

MAX_CONCURRENT_UPLOADS: Final = 8
"""Concurrent uploads to a bucket, which answers slowly; files of one project share a commit."""


@examples(
    "publish.md",
    "wheelyard upload dist/*",
    "wheelyard upload --store gs://acme-packages dist/*",
    "wheelyard upload dist/* --export /srv/www/packages",
)
@click.command("upload")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--export",
    "dest",
    metavar="DEST",
    shell_complete=complete_path,
    help="Refresh this static site afterwards.",
)
@output_options
@store_options
def command(files: tuple[Path, ...], dest: str | None) -> int:
    """
    Publish FILES (wheels and sdists) directly into a store; no server is needed.

    For each file it says 'uploaded', or 'already there' if the index has it with the same content.

    With --export, the changed projects are then exported to DEST, with the options of its last
    'wheelyard export'. A new site gets every project, and copies of the files.
    """
    index = ensure_index(command_settings())
    if dest is not None:
        from wheelyard.cli.export import require_site

        require_site(index, dest)  # before the upload, which cannot be undone
    caller = local_caller(index)
    threads = 1 if index.is_local else MAX_CONCURRENT_UPLOADS
    columns = ("BarColumn", "DownloadColumn", "TransferSpeedColumn", "TimeRemainingColumn")
    paths = [path for each in files for path in _matches(each)]
    existing = {path for path in paths if os.path.isfile(path)}  # noqa: PTH113 - raises nothing
    bar = progress_bar("upload", *columns, total=sum(path.stat().st_size for path in existing))
    with bar as update, ThreadPoolExecutor(threads) as pool:

        def publish(path: Path) -> UploadResult:
            if path not in existing:
                raise _no_file(path)  # a missing file is reported before an invalid filename
            return index.uploads.accept_path(path, caller, lambda size: update(advance=size))

        outcomes = [pool.submit(publish, path) for path in paths]
        try:
            results = [_print_result(*each) for each in zip(paths, outcomes, strict=True)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C
    accepted = [each.filename for each in results if each.filename]
    status = 0 if len(accepted) == len(results) else 1
    site = dict[str, object]()
    if dest is not None and accepted:
        from wheelyard.cli.export import refresh

        names = {parse_known_filename(each).project for each in accepted}
        export_status, site = refresh(index, dest, names)
        status = max(status, export_status)
    print_json({"files": results, **({"export": site} if site else {})})
    return status


def _matches(path: Path) -> list[Path]:
    """Return the files that a pattern matches which no shell has expanded; else the path itself."""
    if os.path.lexists(path):
        return [path]
    found = glob(str(path))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [Path(each) for each in sorted(found)] or [path]


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
    """Empty if it was refused; then there are an error code and a message."""
    sha256: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    message: str = ""


def _print_result(path: Path, outcome: Future[UploadResult]) -> FileResult:
    """Wait for a file's upload, print the result, and return it."""
    try:
        accepted = outcome.result()
    except WheelyardError as fault:
        name = path.name if path.name and not has_magic(path.name) else str(path)
        click.echo(f"wheelyard: {escaped(name)}: {fault.message}", err=True)
        message = printable(fault.message)
        return FileResult(printable(str(path)), "refused", error=fault.code, message=message)
    file = accepted.file
    what = "uploaded" if accepted.is_new else "already there"
    print_line(f"{file.filename}  sha256:{file.sha256}  {what}")
    for warning in accepted.warnings:
        click.echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    status = "uploaded" if accepted.is_new else "there"
    return FileResult(
        printable(str(path)), status, file.filename, file.sha256, warnings=accepted.warnings
    )
