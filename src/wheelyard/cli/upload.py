"""`wheelyard upload`: publish files directly into a store."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from glob import glob, has_magic
from pathlib import Path
from threading import Event
from typing import Final

import click
from click import Argument, Option
from msgspec import Struct

from wheelyard.api.local import LocalApi
from wheelyard.cli.command import OUTPUT, cli_command, complete_path
from wheelyard.cli.options import (
    INDEX,
    Api,
    command_settings,
    ensure_index,
    open_api,
    warn_without_upstream,
)
from wheelyard.cli.output import echo, print_line, print_result, printable, progress_bar
from wheelyard.errors import Invalid, Unauthenticated, WheelyardError
from wheelyard.model.decoding import escaped
from wheelyard.operations.upload import PublishedFile
from wheelyard.wiring.index import Index

NO_SERVER_CODES: Final = frozenset({"server_unavailable", "no_index"})
"""Error codes of a server that takes no file, so that further files are not sent to it."""


@cli_command(
    "upload",
    Argument(["files"], nargs=-1, required=True, type=click.Path(path_type=Path)),
    Option(["--export", "dest"], metavar="DEST", shell_complete=complete_path),
    *OUTPUT,
    *INDEX,
)
def upload_command(files: tuple[Path, ...], dest: str | None) -> int:
    """
    Publish FILES (wheels and sdists) directly into a store, or to a server.

    For each file it says 'uploaded', or 'already there' if the index has it with the same content.

    With --export, all changes are then exported to DEST, with the options of its last
    'wheelyard export'. A new site gets every project, and copies of the files.

    Options:
        --export: Refresh this static site afterwards.

    Examples:
        wheelyard upload dist/*
        wheelyard upload dist/* --export /srv/www/packages
        wheelyard upload --server https://packages.acme.dev dist/*

    Documentation: docs/publish.md
    """
    index = open_api(lambda: ensure_index(command_settings()))
    if isinstance(index, LocalApi):
        warn_without_upstream(index.index)
    exported = None if dest is None else _exported(index, dest)
    results = _upload(index, [path for each in files for path in _matches(each)])
    accepted = [each.filename for each in results if each.filename]
    status = 0 if len(accepted) == len(results) else 1
    site = dict[str, object]()
    if dest is not None and exported is not None and accepted:
        from wheelyard.cli.export import refresh

        export_status, site = refresh(exported, dest)
        status = max(status, export_status)
    print_result({"files": results, **({"export": site} if site else {})})
    return status


def _upload(index: Api, paths: list[Path]) -> list["FileResult"]:
    """Upload the files, print the result of each, and return the results."""
    columns = ("BarColumn", "DownloadColumn", "TransferSpeedColumn", "TimeRemainingColumn")
    existing = {path for path in paths if os.path.isfile(path)}  # noqa: PTH113 - raises nothing
    bar = progress_bar("upload", *columns, total=sum(path.stat().st_size for path in existing))
    has_ended = Event()
    pool = ThreadPoolExecutor(index.concurrent_uploads)
    with bar as update:

        def advance(size: int) -> None:
            if has_ended.is_set():  # after Ctrl-C, a large file is not sent to its end
                raise click.Abort
            update(advance=size)

        def publish(path: Path) -> PublishedFile:
            if path not in existing:
                raise _no_file(path)  # a missing file is reported before an invalid filename
            return index.upload(path, advance)

        outcomes = [pool.submit(publish, path) for path in paths]
        try:
            return [_print_result(*each) for each in zip(paths, outcomes, strict=True)]
        finally:
            has_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C


def _exported(index: Api, dest: str) -> Index:
    """Return the index whose site is `dest`; raise an error, before the upload, if it cannot be."""
    from wheelyard.cli.export import require_site

    if not isinstance(index, LocalApi):
        message = "--export needs the store itself. Leave --server out, or export where it is."
        raise click.UsageError(message)
    require_site(index.index, dest)
    return index.index


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


def _print_result(path: Path, outcome: Future[PublishedFile]) -> FileResult:
    """Wait for a file's upload, print the result, and return it; raise what ends all uploads."""
    try:
        file = outcome.result()
    except WheelyardError as fault:
        if isinstance(fault, Unauthenticated) or fault.code in NO_SERVER_CODES:
            raise
        name = path.name if path.name and not has_magic(path.name) else str(path)
        echo(f"wheelyard: {escaped(name)}: {fault.message}", err=True)
        message = printable(fault.message)
        return FileResult(printable(str(path)), "refused", error=fault.code, message=message)
    filename = escaped(file.filename)
    what = "uploaded" if file.status == "uploaded" else "already there"
    print_line(f"{filename}  sha256:{escaped(file.sha256)}  {what}")
    for warning in file.warnings:
        echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    return FileResult(
        printable(str(path)), file.status, file.filename, file.sha256, warnings=file.warnings
    )
