"""`wheelyard upload`: publish files straight into a store."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

import click

from wheelyard.cli.common import (
    is_terminal,
    local_caller,
    open_or_make_index,
    settings_from,
    store_options,
)
from wheelyard.errors import IndexFault, Invalid
from wheelyard.model.distribution import parse_listed
from wheelyard.model.text import escaped
from wheelyard.operations.upload import Accepted

AT_A_TIME: Final = 8
"""Files under way to a bucket, which answers slowly; those of one project share a commit."""


@click.command("upload")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--export", "dest", metavar="DEST", help="Refresh this static site afterwards.")
@store_options
def command(
    files: tuple[Path, ...], dest: str | None, store: str | None, config: Path | None
) -> int:
    """
    Publish FILES (wheels and sdists) straight into a store; no server is needed.

    A site at DEST looks as 'wheelyard export' has made it; one that is new has copies of the files.
    """
    index = open_or_make_index(settings_from(store, config))
    if dest is not None:
        from wheelyard.cli.export import require_site

        require_site(index, dest)  # what is published stays published
    caller = local_caller(index)
    threads = 1 if index.is_near else AT_A_TIME
    with _progress(files) as advance, ThreadPoolExecutor(threads) as pool:

        def publish(path: Path) -> Accepted:
            _require_file(path)
            return index.uploads.accept_path(path, caller, advance)

        outcomes = [pool.submit(publish, path) for path in files]
        try:
            told = [_tell(*each) for each in zip(files, outcomes, strict=True)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C
    accepted = [each for each in told if each is not None]
    status = 0 if len(accepted) == len(files) else 1
    if dest is not None and accepted:
        from wheelyard.cli.export import refresh

        names = {parse_listed(each.file.filename).project for each in accepted}
        status = max(status, refresh(index, dest, names))
    return status


def _tell(path: Path, outcome: Future[Accepted]) -> Accepted | None:
    """Wait for a file's outcome, print and return it; None where the file was refused."""
    try:
        accepted = outcome.result()
    except IndexFault as fault:
        click.echo(f"wheelyard: {escaped(path.name or str(path))}: {fault.message}", err=True)
        return None
    click.echo(f"{accepted.file.filename}  sha256:{accepted.file.sha256}")
    for warning in accepted.warnings:
        click.echo(f"wheelyard: warning: {path.name}: {escaped(warning)}", err=True)
    return accepted


def _require_file(path: Path) -> None:
    """
    Return if there is a file to upload; a wrong path is said before anything about its name.

    Raises:
        Invalid: There is none.
    """
    name = escaped(str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Invalid(
            f"There is no file {name}. Name a wheel or an sdist that is there.",
            code="invalid_filename",
        ) from error
    except OSError as error:
        raise Invalid(
            f"{name} cannot be read: {error.strerror}. Name a wheel or an sdist that can be.",
            code="invalid_filename",
        ) from error
    if not S_ISREG(mode):
        what = "a folder" if S_ISDIR(mode) else "no plain file"
        raise Invalid(
            f"There is no file {name}: it is {what}. Name the wheels and sdists themselves.",
            code="invalid_filename",
        )


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


@contextmanager
def _progress(files: tuple[Path, ...]) -> Iterator[Callable[[int], None]]:
    """Yield what is told of each piece that was read; it draws a bar where a person may watch."""
    if not is_terminal():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    total = sum(_size(path) for path in files)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("upload", total=total)
        yield lambda size: bar.advance(task, size)
