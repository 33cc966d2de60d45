"""Folders of packages, imported while somebody waits: progress, and a report of what was not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from wheelyard.cli.common import is_terminal, local_caller
from wheelyard.cli.warnings import warn
from wheelyard.index import Index
from wheelyard.model.text import escaped
from wheelyard.operations.findings import counted
from wheelyard.operations.intake import Fate, Intake, Report


def import_folders(index: Index, folders: tuple[Path, ...]) -> None:
    """
    Publish what lies in folders, and print what became of it; what is refused stops nothing.

    Raises:
        Unavailable: The store does not answer.
    """
    caller = local_caller(index)
    intake = Intake(index.uploads, index.projects, near=index.is_near)
    kept = Path(index.settings.store.location)
    for folder in folders:
        with _progress() as advance:
            report = intake.run(folder, caller, advance, leave_out=(kept,))
        _tell(folder, report)


def _tell(folder: Path, report: Report) -> None:
    for path, why in report.refused:
        warn(f"{path} was not imported: {why}")
    unchanged, deleted = report.fates[Fate.UNCHANGED], report.fates[Fate.DELETED]
    parts = [f"imported {counted(report.fates[Fate.IMPORTED], 'file')}"]
    parts += [f"{unchanged} there already"] if unchanged else []
    parts += [f"{deleted} deleted here before"] if deleted else []
    parts += [f"{len(report.refused)} refused"] if report.refused else []
    click.echo(f"{escaped(str(folder))}: {', '.join(parts)}")


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Yield what is told of each piece that was read; it shows where a person may watch."""
    if not is_terminal():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("importing"), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("import", total=None)
        yield lambda size: bar.advance(task, size)
