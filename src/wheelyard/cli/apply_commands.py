"""`wheelyard apply` and `wheelyard show`: files that describe the index."""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

import click
from click import Argument, Option
from msgspec import to_builtins

from wheelyard.api import apply_operations
from wheelyard.api.apply_operations import ApplyRequest, FileToApply
from wheelyard.catalog.format import rewrite_format
from wheelyard.cli import command_context, shared_options
from wheelyard.cli.access_commands import EVEN_IF_OWN
from wheelyard.cli.command import cli_command
from wheelyard.cli.index_commands import EVEN_IF_OPEN
from wheelyard.cli.namespace_commands import EVEN_IF_PUBLIC
from wheelyard.cli.output import print_result, warn
from wheelyard.errors import Invalid
from wheelyard.model import index_file
from wheelyard.model.decoding import counted, escaped
from wheelyard.operations.applied_files import AppliedFiles
from wheelyard.operations.apply_plan import AppliedChange
from wheelyard.operations.applying import ApplyReport, SourcedTables
from wheelyard.settings.sections import names_in
from wheelyard.wiring.build import open_index
from wheelyard.wiring.stores import require_credentials_place, resolved_location

OUTCOME_SIGNS: Final = {"added": "+", "changed": "~", "removed": "-"}


class _ApplyFlags(TypedDict):
    """The options of `wheelyard apply` that are flags. They are fields of `ApplyRequest`."""

    dry_run: bool
    prune: bool
    again: bool
    even_if_own: bool
    even_if_open: bool
    even_if_public: bool


@cli_command(
    "apply",
    Argument(
        ["files"],
        nargs=-1,
        required=True,
        metavar="FILE...",
        type=click.Path(dir_okay=False, path_type=Path),
    ),
    Option(["--dry-run"], is_flag=True, help="Print what would change, and change nothing."),
    Option(
        ["--source"],
        metavar="NAME",
        help="The name that all things of these files keep, instead of the name of each file.",
    ),
    Option(
        ["--prune"],
        is_flag=True,
        help="Remove what earlier files of the same source have made, and these lack.",
    ),
    Option(
        ["--again"], is_flag=True, help="Apply a file also if it was applied last of its source."
    ),
    EVEN_IF_OWN,
    EVEN_IF_OPEN,
    EVEN_IF_PUBLIC,
    shared_options.NOTE,
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard apply index.toml --dry-run",
        "wheelyard apply index.toml",
        "wheelyard apply index.toml --prune --server https://packages.acme.dev",
    ),
    page="index-file.md",
)
def apply_command(
    files: tuple[Path, ...], source: str | None, note: str, **flags: Unpack[_ApplyFlags]
) -> None:
    """
    Put into the store what the TOML files FILE say of the index.

    They have the tables [main], [[index]], [groups], [[grant]], [[publisher]], [[namespace]],
    [[webhook]] and [[retention]]. Sections of the settings of a server are passed over. A file that
    was applied last of its source changes nothing, so that what was revoked since stays so.
    """
    # all files are read before the store is opened, or even made: none is applied if one is wrong
    files_to_apply = tuple(read_files(files, source))
    api = _open_described_index(makes_store=not flags["dry_run"])
    request = ApplyRequest(files=files_to_apply, note=note, **flags)
    answer = api.call(apply_operations.apply_files, request)
    print_result(answer, report_lines(answer.files, is_dry_run=flags["dry_run"]))
    for report in answer.files:
        for problem in report.problems:
            warn(problem)


def _open_described_index(*, makes_store: bool) -> command_context.Api:
    """
    Return the index with all its documents, even if a settings file describes the index, too.

    With `makes_store`, a store that is missing is made. Raises Invalid if a setting is wrong,
    NotFound if there is no such index, and Unavailable if the store does not answer.
    """
    remote = command_context.remote_api()
    if remote is not None:
        return remote
    loaded = command_context.loaded_settings(passes_over_index=True)
    command_context.warn_of_settings_file(loaded)
    if makes_store:
        index = command_context.ensure_index(loaded.settings)
        if index.server.is_new:
            # noted in a new store, whose servers will have these settings
            credentials_place = resolved_location(index.server.traits.credentials_location)
            rewrite_format(index.stores.documents, index.server.retries, credentials_place)
    else:
        index = command_context.index_for_command(open_index(loaded.settings, create=False))
    require_credentials_place(index.server.stores.documents, index.server.traits)
    return command_context.local_api(index)


def read_files(paths: Sequence[Path], source: str | None = None) -> Iterator[FileToApply]:
    """
    Yield the content of each file, with its name as its source, or with `source` that of all files.

    All files are read before the first is yielded. Raises Invalid if a file cannot be read, or is
    wrong.
    """
    tables_by_path = [(path, _read_tables(path)) for path in paths]
    if source is None:
        for path, tables in tables_by_path:
            yield FileToApply(path.name, tables)
        return
    parsed_tables = [index_file.read_tables(tables, passed_over=()) for _, tables in tables_by_path]
    joined_tables = index_file.joined(parsed_tables)
    yield FileToApply(source, to_builtins(joined_tables))


def read_sourced_tables(paths: Sequence[Path]) -> Iterator[SourcedTables]:
    """Yield the tables of a server's files, or raise Invalid if one cannot be read, or is wrong."""
    for file in read_files(paths):
        yield SourcedTables(file.source, index_file.read_tables(file.tables, passed_over=()))


def apply_server_files(files: AppliedFiles, *, is_read_only: bool) -> None:
    """
    Apply the files of a server, print what that changes, and warn if the store differs from a file.

    A read-only server applies no file. Raises WheelyardError if a file cannot be applied.
    """
    if not is_read_only:
        for line in report_lines(files.put_into_force()):
            click.echo(escaped("\t".join(line)))
    for drift in files.drifts():
        if drift.differences:
            warn(f"file {drift.source}: {drift.text}")


def _read_tables(path: Path) -> dict[str, Any]:
    """
    Return the tables of a file that describe the index.

    Raises Invalid if the file cannot be read, or has a table that is unknown or wrong.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    # ValueError for bytes that are no UTF-8 and text that is no TOML, RecursionError for arrays in
    # arrays without end
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Invalid(
            f"{escaped(str(path))} cannot be read: {reason}.", code=index_file.WRONG_FILE
        ) from error
    try:
        # checked here, where the name of the file is known for the message; `()` is the path of the
        # top, so these are all sections of the settings
        index_file.read_tables(tables, passed_over=names_in(()))
    except Invalid as fault:
        message = f"{escaped(str(path))}: {fault.message}"
        raise Invalid(message, code=index_file.WRONG_FILE, advice=fault.advice) from fault
    return {name: tables[name] for name in index_file.ALL_TABLES if name in tables}


def report_lines(
    reports: Sequence[ApplyReport], *, is_dry_run: bool = False
) -> Iterator[tuple[str, ...]]:
    """Yield the lines about the changes of files, or in a dry run about what they would change."""
    for report in reports:
        yield (f"{report.source}: {_report_summary(report, is_dry_run=is_dry_run)}",)
        for change in report.changes:
            yield (f"  {_change_text(change)}",)
        for readers in report.anonymous:
            yield (
                f"  ! anonymous readers of {readers.index}: {readers.before} -> {readers.after}",
            )


def _report_summary(report: ApplyReport, *, is_dry_run: bool) -> str:
    if not report.changes:
        return "nothing to change"
    number = counted(len(report.changes), "change")
    if report.applied is not None:
        return (
            f"applied {report.applied.at:%Y-%m-%d %H:%M} by {report.applied.by}, and not done "
            f"again without --again; {number} since then would be taken back"
        )
    if is_dry_run:
        return f"{number} to make"
    return f"{number} made"


def _change_text(change: AppliedChange) -> str:
    return f"{OUTCOME_SIGNS[change.outcome]} {change.kind} {change.name}: {change.text}"


@cli_command(
    "show",
    Option(["--toml"], is_flag=True, help="Print TOML, which is what is printed without it, too."),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard show --toml",
        "wheelyard show --toml --server https://packages.acme.dev > index.toml",
    ),
    page="index-file.md",
)
def show_command(*, toml: bool) -> None:
    """Print what describes the index, as a file that `wheelyard apply` takes."""
    # without an effect, as TOML is the only form for people so far
    del toml
    tables = _open_described_index(makes_store=False).call(apply_operations.show_tables)
    lines = index_file.to_toml(tables).splitlines()
    print_result(tables, ((line,) for line in lines))
