"""`wheelyard check`: verify a store, and repair what can be repaired."""

import click
from msgspec.structs import asdict, replace

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import existing_index, store_options
from wheelyard.cli.output import output_options, print_json, print_line, progress_bar
from wheelyard.model.text import counted, escaped
from wheelyard.operations.findings import Findings


@examples(
    "store.md",
    "wheelyard check",
    "wheelyard check --sweep --json",
    "wheelyard check --store gs://acme-packages",
)
@click.command("check")
@click.option("--rebuild", is_flag=True, help="Fold every journal again into its document.")
@click.option("--sweep", is_flag=True, help="Remove what dead uploads and tokens left.")
@output_options
@store_options
def command(*, rebuild: bool, sweep: bool) -> int:
    """
    Verify every byte, digest, link and document; exit 1 if something is damaged.

    What can be repaired without a backup is repaired.
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
    print_json({names.get(name, name): value for name, value in asdict(findings).items()})
    _report(findings, rebuild=rebuild)
    return 1 if findings.problems else 0


def _report(findings: Findings, *, rebuild: bool) -> None:
    for line in findings.problems:
        click.echo(f"wheelyard: problem: {line}", err=True)
    for line in findings.repaired:
        print_line(f"mended: {line}")
    for line in findings.notes:
        print_line(f"note: {line}")
    if rebuild:
        print_line(f"rebuilt {findings.rebuilt} documents from their journals")
    if findings.swept:
        print_line(f"swept {findings.swept} leftovers")
    verdict = counted(len(findings.problems), "problem") if findings.problems else "clean"
    counts = f"{findings.projects} projects, {findings.files} files, {findings.size} bytes read"
    print_line(f"{verdict}: {counts}")
