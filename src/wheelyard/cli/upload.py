"""`wheelyard upload`: publish files directly into a store."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import click

from wheelyard.cli.help_text import complete_path, examples
from wheelyard.cli.options import command_settings, ensure_index, local_caller, store_options
from wheelyard.cli.output import progress_bar
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
@store_options
def command(files: tuple[Path, ...], dest: str | None) -> int:
    """
    Publish FILES (wheels and sdists) directly into a store; no server is needed.

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
    existing = {path for path in files if os.path.isfile(path)}  # noqa: PTH113 - raises nothing
    bar = progress_bar("upload", *columns, total=sum(path.stat().st_size for path in existing))
    with bar as update, ThreadPoolExecutor(threads) as pool:

        def publish(path: Path) -> UploadResult:
            if path not in existing:
                name = escaped(str(path))  # a missing file is reported before an invalid filename
                what = f"{name} is no file" if os.path.lexists(path) else f"There is no file {name}"
                message = f"{what}. Name the wheels and sdists themselves."
                raise Invalid(message, code="invalid_filename")
            return index.uploads.accept_path(path, caller, lambda size: update(advance=size))

        outcomes = [pool.submit(publish, path) for path in files]
        try:
            results = [_print_result(*each) for each in zip(files, outcomes, strict=True)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C
    accepted = [each for each in results if each is not None]
    status = 0 if len(accepted) == len(files) else 1
    if dest is not None and accepted:
        from wheelyard.cli.export import refresh

        names = {parse_known_filename(each.file.filename).project for each in accepted}
        status = max(status, refresh(index, dest, names))
    return status


def _print_result(path: Path, outcome: Future[UploadResult]) -> UploadResult | None:
    """Wait for a file's upload, print the result, and return it; None if it was rejected."""
    try:
        accepted = outcome.result()
    except WheelyardError as fault:
        click.echo(f"wheelyard: {escaped(path.name or str(path))}: {fault.message}", err=True)
        return None
    click.echo(f"{accepted.file.filename}  sha256:{accepted.file.sha256}")
    for warning in accepted.warnings:
        click.echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    return accepted
