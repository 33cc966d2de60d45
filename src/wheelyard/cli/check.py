"""`wheelyard check`: verify a store, and repair what can be repaired."""

from collections.abc import Iterator

import click
from click import Option
from msgspec.structs import asdict, replace

from wheelyard.cli.command import OUTPUT, cli_command
from wheelyard.cli.options import STORE, existing_index
from wheelyard.cli.output import print_result, progress_bar
from wheelyard.model.decoding import counted, escaped
from wheelyard.operations.findings import Findings


@cli_command(
    "check", Option(["--rebuild"], is_flag=True), Option(["--sweep"], is_flag=True), *OUTPUT, *STORE
)
def check_command(*, rebuild: bool, sweep: bool) -> int:
    """
    Verify every byte, digest, link and document; exit 1 if something is damaged.

    What can be repaired without a backup is repaired.

    Options:
        --rebuild: Fold every journal again into its document.
        --sweep: Remove what dead uploads and tokens left.

    Examples:
        wheelyard check
        wheelyard check --sweep --json
        wheelyard check --store gs://acme-packages

    Documentation: docs/store.md
    """
    index = existing_index()
    columns = ("SpinnerColumn", "DownloadColumn", "{task.description}")
    with progress_bar("check", *columns) as update:
        findings = index.check.run(
            lambda what, size: update(advance=size, description=what), rebuild=rebuild, sweep=sweep
        )
    # a stray file's name may contain control characters for the terminal
    findings = replace(
        findings,
        problems=[escaped(line) for line in findings.problems],
        notes=[escaped(line) for line in findings.notes],
        repaired=[escaped(line) for line in findings.repaired],
    )
    names = {"repaired": "mended"}
    for line in findings.problems:
        click.echo(f"wheelyard: problem: {line}", err=True)
    result = {names.get(name, name): value for name, value in asdict(findings).items()}
    print_result(result, _finding_lines(findings, rebuild=rebuild))
    return 1 if findings.problems else 0


def _finding_lines(findings: Findings, *, rebuild: bool) -> Iterator[str]:
    yield from (f"mended: {line}" for line in findings.repaired)
    yield from (f"note: {line}" for line in findings.notes)
    if rebuild:
        yield f"rebuilt {counted(findings.rebuilt, 'document')} from journals"
    if findings.swept:
        yield f"swept {counted(findings.swept, 'leftover')}"
    verdict = counted(len(findings.problems), "problem") if findings.problems else "clean"
    projects, files = counted(findings.projects, "project"), counted(findings.files, "file")
    yield f"{verdict}: {projects}, {files}, {counted(findings.size, 'byte')} read"
