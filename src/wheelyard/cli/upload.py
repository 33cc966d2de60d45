"""`wheelyard upload`: publish files straight into a store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from wheelyard.cli.common import is_terminal, local_caller, settings_from, store_options
from wheelyard.errors import IndexFault
from wheelyard.index import open_index


@click.command("upload")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@store_options
def command(files: tuple[Path, ...], store: str | None, config: Path | None) -> int:
    """Publish FILES (wheels and sdists) straight into a store; no server is needed."""
    index = open_index(settings_from(store, config))
    caller, refused = local_caller(), 0
    with _progress(files) as advance:
        for path in files:
            try:
                file = index.uploads.accept_path(path, caller, advance).file
            except IndexFault as fault:
                refused += 1
                click.echo(f"wheelyard: {path.name}: {fault.message}", err=True)
            else:
                click.echo(f"{file.filename}  sha256:{file.sha256}")
    return 1 if refused else 0


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

    total = sum(path.stat().st_size for path in files if path.is_file())
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("upload", total=total)
        yield lambda size: bar.advance(task, size)
