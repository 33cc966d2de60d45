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
"""Error codes of a server that takes no file at all, so that no further file is sent to it."""


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
    api: command_context.Api | None = command_context.remote_api()
    if api is None:
        index = command_context.ensure_index(command_context.command_settings())
        api = command_context.local_api(index)
    if isinstance(api, LocalApi):
        command_context.warn_without_upstream(api.index)
    exported_index = None
    if dest is not None:
        # refused before the upload if there can be no site
        exported_index = _index_to_export(api, dest)
    matches = list[Path]()
    for pattern in files:
        matches += _expand_pattern(pattern)
    paths = without_attestation_files(matches)
    results = _upload_files(api, paths, sends_attestations=not no_attestations)
    accepted = [result.filename for result in results if result.filename]
    status = int(len(accepted) < len(results))
    answer: dict[str, object] = {"files": results}
    if dest is not None and exported_index is not None and accepted:
        # imported only for --export
        from wheelyard.cli.store_commands import refresh

        export_status, site = refresh(exported_index, dest)
        status = max(status, export_status)
        answer["export"] = site
    output.print_result(answer)
    return status


class _UploadWork(Struct, frozen=True):
    """The uploads of one command, which several threads do."""

    api: command_context.Api
    existing_files: frozenset[Path]
    sends_attestations: bool
    progress: Progress
    has_ended: Event

    def upload(self, path: Path) -> PublishedFile:
        """
        Upload one file.

        Raises Invalid if there is no such file, Abort if the command has ended, and the errors of
        an upload.
        """
        # a missing file is reported before an invalid filename
        if path not in self.existing_files:
            raise _missing_file(path)
        attestations = ""
        if self.sends_attestations:
            attestations = read_attestations(path)
        return self.api.upload(path, self.advance, attestations)

    def advance(self, size: int) -> None:
        """Show that `size` more bytes were sent, or raise Abort if the command has ended."""
        # after Ctrl-C, a large file must not be sent to its end
        if self.has_ended.is_set():
            raise click.Abort
        self.progress.advance(size)


def _upload_files(
    api: command_context.Api, paths: list[Path], *, sends_attestations: bool
) -> list["FileResult"]:
    """Upload the files, print the result of each, and return the results."""
    existing_files = frozenset(path for path in paths if os.path.isfile(path))  # noqa: PTH113 - raises nothing
    size = sum(path.stat().st_size for path in existing_files)
    pool = ThreadPoolExecutor(api.concurrent_uploads)
    with show_progress("upload", total=size, is_size=True) as progress:
        work = _UploadWork(api, existing_files, sends_attestations, progress, Event())
        # several uploads run at once, and the results are printed in the order of the command line
        futures = [pool.submit(work.upload, path) for path in paths]
        try:
            return list(map(_print_outcome, paths, futures))
        finally:
            # after Ctrl-C, no further upload begins
            work.has_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _index_to_export(api: command_context.Api, dest: str) -> Index:
    """
    Return the index that is exported to `dest` after the upload.

    Raises UsageError if the uploads go to a server, and WheelyardError if no site can be written.
    """
    # imported only for --export
    from wheelyard.cli.store_commands import require_site

    if not isinstance(api, LocalApi):
        message = "--export needs the store itself. Leave --server out, or export where it is."
        raise click.UsageError(message)
    require_site(api.index, dest)
    return api.index


def _expand_pattern(path: Path) -> list[Path]:
    """Return the path, or if it does not exist, the files that match it as a pattern."""
    if os.path.lexists(path):
        return [path]
    # on Windows the shell expands no pattern
    matches = glob(str(path))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        return [path]
    return [Path(match) for match in sorted(matches)]


def _missing_file(path: Path) -> Invalid:
    """Return the error about a path that is no file, or a pattern that matches none."""
    name = escaped(str(path))
    message = f"There is no file {name}. Name the wheels and sdists themselves."
    if os.path.lexists(path):
        message = f"{name} is no file. Name the wheels and sdists themselves."
    elif has_magic(name):
        message = "Nothing matched this pattern. Build the project first, or look elsewhere."
    return Invalid(message, code="invalid_filename")


class FileResult(Struct, omit_defaults=True):
    """The result of the upload of one file, as `--json` prints it."""

    path: str
    status: str
    """`uploaded`, `there` or `refused`."""
    filename: str = ""
    """The name in the index. Empty if the file was refused, with an error code and a message."""
    sha256: str = ""
    warnings: tuple[str, ...] = ()
    attested: bool = False
    """Whether a file that was there already has got its attestations now."""
    error: str = ""
    message: str = ""


def _print_outcome(path: Path, future: Future[PublishedFile]) -> FileResult:
    """
    Wait for the upload of a file, print its result, and return the result.

    Raises those errors of a server for which it would refuse all further files, too.
    """
    try:
        published_file = future.result()
    except WheelyardError as fault:
        if isinstance(fault, Unauthenticated) or fault.code in NO_SERVER_CODES:
            raise
        return _print_refusal(path, fault)
    filename = escaped(published_file.filename)
    outcome = "uploaded" if published_file.status == "uploaded" else "already there"
    if published_file.attested:
        outcome += ", its attestations were added"
    output.print_line(f"{filename}  sha256:{escaped(published_file.sha256)}  {outcome}")
    for warning in published_file.warnings:
        output.echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    return FileResult(
        output.printable(str(path)),
        published_file.status,
        published_file.filename,
        published_file.sha256,
        warnings=published_file.warnings,
        attested=published_file.attested,
    )


def _print_refusal(path: Path, fault: WheelyardError) -> FileResult:
    """Print why a file was refused, and return its result."""
    name = path.name
    # a pattern is printed as it was typed, as are `.` and `/`, which have no name
    if not name or has_magic(name):
        name = str(path)
    message = output.printable(error_text(fault))
    output.echo(f"wheelyard: {escaped(name)}: {message}", err=True)
    printable_path = output.printable(str(path))
    return FileResult(printable_path, "refused", error=fault.code, message=message)
