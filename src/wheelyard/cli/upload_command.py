"""`wheelyard upload`: publishes files into a store, or sends them to a server."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from glob import glob, has_magic
from pathlib import Path
from threading import Event
from typing import Final

import click
from click import Argument, Option
from msgspec import Struct

from wheelyard.api.local_api import LocalApi
from wheelyard.cli import command_context, output, shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.program import error_text
from wheelyard.cli.progress import Progress, show_progress
from wheelyard.errors import Invalid, Unauthenticated, WheelyardError
from wheelyard.model.decoding import escaped
from wheelyard.operations.attestation_files import read_attestations, without_attestation_files
from wheelyard.operations.uploads import PublishedFile
from wheelyard.wiring.index import Index

NO_SERVER_CODES: Final = frozenset({"server_unavailable", "no_index"})
"""Error codes of a server that takes no file, so that further files are not sent to it."""


@cli_command(
    "upload",
    Argument(["files"], nargs=-1, required=True, type=click.Path(path_type=Path)),
    Option(
        ["--export", "dest"],
        metavar="DEST",
        shell_complete=shared_options.complete_path,
        help="Refresh this static site afterwards.",
    ),
    Option(
        ["--no-attestations"],
        is_flag=True,
        help="Do not send the attestations that lie beside a file.",
    ),
    shared_options.OUTPUT,
    shared_options.PACKAGES,
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
    index = command_context.remote_api() or command_context.local_api(
        command_context.ensure_index(command_context.command_settings())
    )
    if isinstance(index, LocalApi):
        command_context.warn_without_upstream(index.index)
    exported = None
    if dest is not None:
        # refused before the upload if there can be no site
        exported = _exported(index, dest)
    matches = list[Path]()
    for pattern in files:
        matches += _matching(pattern)
    paths = without_attestation_files(matches)
    results = _upload(index, paths, sends_attestations=not no_attestations)
    accepted = [result.filename for result in results if result.filename]
    status = int(len(accepted) < len(results))
    answer: dict[str, object] = {"files": results}
    if dest is not None and exported is not None and accepted:
        # imported only for --export
        from wheelyard.cli.store_commands import refresh

        export_status, site = refresh(exported, dest)
        status = max(status, export_status)
        answer["export"] = site
    output.print_result(answer)
    return status


class _Uploading(Struct, frozen=True):
    """The uploads of one command, which threads do."""

    index: command_context.Api
    existing: frozenset[Path]
    sends_attestations: bool
    progress: Progress
    has_ended: Event

    def upload(self, path: Path) -> PublishedFile:
        """Upload one file."""
        # a missing file is reported before an invalid filename
        if path not in self.existing:
            raise _no_file(path)
        attestations = ""
        if self.sends_attestations:
            attestations = read_attestations(path)
        return self.index.upload(path, self.advance, attestations)

    def advance(self, size: int) -> None:
        """Show how much was sent, and raise Abort if the command has ended."""
        # after Ctrl-C, a large file is not sent to its end
        if self.has_ended.is_set():
            raise click.Abort
        self.progress.advance(size)


def _upload(
    index: command_context.Api, paths: list[Path], *, sends_attestations: bool
) -> list["FileResult"]:
    """Upload the files, print the result of each, and return the results."""
    existing = frozenset(path for path in paths if os.path.isfile(path))  # noqa: PTH113 - raises nothing
    size = sum(path.stat().st_size for path in existing)
    pool = ThreadPoolExecutor(index.concurrent_uploads)
    with show_progress("upload", total=size, is_size=True) as progress:
        uploading = _Uploading(index, existing, sends_attestations, progress, Event())
        # all are under way at once, and their results are printed in the order of the command line
        futures = [pool.submit(uploading.upload, path) for path in paths]
        try:
            return list(map(_print_result, paths, futures))
        finally:
            uploading.has_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C


def _exported(index: command_context.Api, dest: str) -> Index:
    """
    Return the index whose site is `dest`.

    It is asked for before the upload. Raises WheelyardError or UsageError if there can be no site.
    """
    # imported only for --export
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
    """Return the error about a path that is no file, or a pattern that matches none."""
    name = escaped(str(path))
    message = f"There is no file {name}. Name the wheels and sdists themselves."
    if os.path.lexists(path):
        message = f"{name} is no file. Name the wheels and sdists themselves."
    elif has_magic(name):
        message = "Nothing matched this pattern. Build the project first, or look elsewhere."
    return Invalid(message, code="invalid_filename")


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
        name = path.name
        # a pattern is repeated as it was typed, and `.` and `/` have no name
        if not name or has_magic(name):
            name = str(path)
        message = output.printable(error_text(fault))
        output.echo(f"wheelyard: {escaped(name)}: {message}", err=True)
        return FileResult(output.printable(str(path)), "refused", error=fault.code, message=message)
    filename = escaped(file.filename)
    what = "uploaded" if file.status == "uploaded" else "already there"
    if file.attested:
        what += ", its attestations were added"
    output.print_line(f"{filename}  sha256:{escaped(file.sha256)}  {what}")
    for warning in file.warnings:
        output.echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    return FileResult(
        output.printable(str(path)),
        file.status,
        file.filename,
        file.sha256,
        warnings=file.warnings,
        attested=file.attested,
    )
