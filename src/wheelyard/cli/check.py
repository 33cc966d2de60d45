"""`wheelyard check`: verify a store, and mend what can be mended."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from msgspec.json import encode

from wheelyard.cli.common import existing_index, is_terminal, store_options
from wheelyard.model.text import counted, escaped
from wheelyard.operations.check import CheckOptions
from wheelyard.operations.check_project import Findings, Progress


@click.command("check")
@click.option("--rebuild", is_flag=True, help="Fold every journal again into its document.")
@click.option("--sweep", is_flag=True, help="Remove what dead uploads and tokens left.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@store_options
def command(
    rebuild: bool,  # noqa: FBT001 - click passes it by name
    sweep: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    store: str | None,
    config: Path | None,
) -> int:
    """Verify every byte, digest, link and document; exit 1 if something is damaged."""
    index = existing_index(store, config)
    with _progress() as progress:
        findings = index.check.run(CheckOptions(rebuild=rebuild, sweep=sweep), progress)
    if as_json:
        click.echo(encode(_printable(findings)))
    else:
        _report(_printable(findings), rebuild=rebuild)
    return 1 if findings.problems else 0


def _printable(findings: Findings) -> Findings:
    """Return the findings with nothing in them that a stray file's name could do to a terminal."""
    lines = (findings.problems, findings.notes, findings.mended)
    problems, notes, mended = ([escaped(line) for line in each] for each in lines)
    return replace(findings, problems=problems, notes=notes, mended=mended)


def _report(findings: Findings, *, rebuild: bool) -> None:
    for line in findings.problems:
        click.echo(f"wheelyard: problem: {line}", err=True)
    for line in findings.mended:
        click.echo(f"mended: {line}")
    for line in findings.notes:
        click.echo(f"note: {line}")
    if rebuild:
        click.echo(f"rebuilt {findings.rebuilt} documents from their journals")
    if findings.swept:
        click.echo(f"swept {findings.swept} leftovers")
    verdict = counted(len(findings.problems), "problem") if findings.problems else "clean"
    click.echo(
        f"{verdict}: {findings.projects} projects, {findings.files} files, "
        f"{findings.size} bytes read"
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """Yield what is told of each file that is read; it shows where a person may watch."""
    if not is_terminal():
        yield lambda _, __: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), DownloadColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("check", total=None)

        def show(what: str, size: int) -> None:
            bar.update(task, advance=size, description=what)

        yield show
