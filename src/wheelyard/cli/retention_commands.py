"""`wheelyard retention`: deletes old releases by the rules of retention."""

from collections.abc import Iterator

from click import Option

from wheelyard.api import retention_operations
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import open_api
from wheelyard.cli.output import print_result, warn
from wheelyard.cli.shared_options import INDEX, JSON
from wheelyard.model.decoding import counted, readable_size
from wheelyard.model.index_name import MAIN
from wheelyard.model.retention_report import JudgedRelease


@cli_command(
    "retention",
    Option(
        ["--dry-run"], is_flag=True, help="Print what would be deleted and why, and delete nothing."
    ),
    Option(["--verbose"], is_flag=True, help="Print also what is kept, and why."),
    Option(["--index"], metavar="NAME", help="Apply only the rules about this index."),
    JSON,
    INDEX,
    examples=(
        "wheelyard retention --dry-run",
        "wheelyard retention --dry-run --verbose --index dev",
        "wheelyard retention --server https://packages.acme.dev",
    ),
    page="retention.md",
)
def retention_command(*, dry_run: bool, verbose: bool, index: str | None) -> int:
    """
    Delete what the [[retention]] rules of the store say. `wheelyard restore` brings it back.

    Latest releases, and those that are pinned or were promoted, are always kept. The status is 1 if
    a project was left alone, as its document cannot be read.
    """
    operation = (
        retention_operations.preview_retention if dry_run else retention_operations.run_retention
    )
    answer = open_api().call(operation, retention_operations.RetentionQuery(index, verbose))
    outcome = "would be deleted" if dry_run else "deleted"
    print_result(answer, _report_lines(answer, outcome))
    for rule in answer.rules:
        if rule.hindrance:
            warn(f"rule {rule.number} deletes nothing: {rule.hindrance}")
    for project in answer.skipped:
        warn(f"{_index_prefix(project.index)}{project.project} is left alone: {project.why}")
    for warning in answer.warnings:
        warn(warning)
    return int(bool(answer.skipped))


def _report_lines(answer: retention_operations.RetentionAnswer, outcome: str) -> Iterator[str]:
    for release in answer.deleted:
        yield _release_line(release, outcome)
    for release in answer.kept:
        yield _release_line(release, "kept")
    files = sum(release.files for release in answer.deleted)
    size = readable_size(sum(release.bytes for release in answer.deleted))
    releases = counted(len(answer.deleted), "release")
    yield f"{releases} with {counted(files, 'file')}, {size}: {outcome}"


def _release_line(release: JudgedRelease, outcome: str) -> str:
    """Return the line about a release, with the reasons for the outcome."""
    target = f"{_index_prefix(release.index)}{release.project} {release.version}"
    return f"{target}: {outcome}  {'; '.join(release.why)}"


def _index_prefix(index: str) -> str:
    """Return the index of a project as a prefix of its name, or an empty text for main."""
    if index in {"", MAIN}:
        return ""
    return f"{index}: "
