"""`wheelyard upstream prefetch`: the files that lock files list, into the store."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import (
    command_settings,
    ensure_index,
    require_upstream,
    store_options,
)
from wheelyard.cli.output import output_options, print_json, print_line, progress_bar
from wheelyard.cli.quantities import describe_size
from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.text import counted, escaped
from wheelyard.upstream.lock_files.locked_package import LockedFile
from wheelyard.upstream.lock_files.read import LockedFiles, read_lock_files
from wheelyard.upstream.prefetch import FileState, Prefetch, PrefetchReport

DEFAULT_JOBS: Final = 8
MAX_JOBS: Final = 32
INCOMPLETE_STATUS: Final = 3
"""The exit status if a listed file is on no page, or the policy does not show it."""


@examples(
    "upstream.md",
    "wheelyard upstream prefetch -r requirements.txt",
    "wheelyard upstream prefetch -r uv.lock -r tools/pylock.toml --dry-run",
)
@click.command("prefetch")
@click.option(
    "-r",
    "--requirement",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="FILE",
    help="requirements.txt with hashes, pylock.toml, uv.lock, poetry.lock or pdm.lock; may be "
    "given again.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and fetch no file.")
@click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    default=DEFAULT_JOBS,
    show_default=True,
    help="How many files are fetched at a time.",
)
@output_options
@store_options
def prefetch(*, paths: tuple[Path, ...], dry_run: bool, jobs: int) -> int:
    """
    Bring exactly the files whose digests are listed in lock files into the store.

    Markers are not evaluated: the files for every platform are brought. What is in the store
    already is not fetched again, so the command can be run again at any time. Private names are
    left out, and never asked for elsewhere.

    The exit status is 3 if an upstream index does not have a listed file, or a rule of [upstream]
    hides it, and 1 if a file could not be fetched.
    """
    locked = read_lock_files(paths)
    upstream = require_upstream(ensure_index(command_settings()))
    if upstream.config.offline:
        raise Invalid(
            "upstream.offline is set, so nothing can be fetched. Prefetch where there is a "
            "connection, with WHEELYARD_UPSTREAM_OFFLINE=false.",
            code="bad_setting",
        )
    columns = ("SpinnerColumn", "DownloadColumn", "TransferSpeedColumn")
    with closing(upstream), progress_bar("prefetch", *columns) as update:
        try:
            work = Prefetch(index=upstream, jobs=jobs, received=lambda size: update(advance=size))
            report = work.run(locked, dry_run=dry_run)
        except Unavailable as fault:
            raise Unavailable(
                f"{fault.message} What was fetched stays; prefetch again to go on from there.",
                code=fault.code,
            ) from fault
    _print_report(locked, report, dry_run=dry_run)
    print_json(_described(locked, report, dry_run=dry_run))
    if report.of(FileState.FAILED):
        return 1
    is_complete = not report.of(FileState.MISSING) and not report.of(FileState.REFUSED)
    return 0 if is_complete else INCOMPLETE_STATUS


def _print_report(locked: LockedFiles, report: PrefetchReport, *, dry_run: bool) -> None:
    for line in _problems(report):
        click.echo(f"wheelyard: {escaped(line)}", err=True)
    for foreign in locked.foreign:
        print_line(f"left out: {foreign.place} is {foreign.origin}, which no index has")
    for name in report.private:
        print_line(f"left out: {name} is private, and never asked for elsewhere")
    verb = "would be fetched" if dry_run else "fetched"
    fetched, present = report.of(FileState.FETCHED), report.of(FileState.PRESENT)
    lacking = len(report.results) - len(fetched) - len(present)
    size = describe_size(report.fetched_bytes)
    print_line(
        f"{counted(len(fetched), 'file')} {verb}, {size}; {len(present)} in the store already; "
        f"{lacking} not to be had"
    )


def _problems(report: PrefetchReport) -> Iterator[str]:
    """Yield a line for each reason why files of a project are not in the store."""
    groups = dict[tuple[str, str], list[LockedFile]]()
    for each in report.results:
        if each.why:
            groups.setdefault((each.file.project, each.why), []).append(each.file)
    for (_, why), files in sorted(groups.items()):
        more = f" and {counted(len(files) - 1, 'other file')}" if len(files) > 1 else ""
        verb = "were" if more else "was"
        yield f"{_named(files[0])}{more} {verb} not fetched: {why}"


def _named(file: LockedFile) -> str:
    """Return how a message names a file: by its filename, or by project, version and digest."""
    what = file.filename or " ".join(filter(None, (file.project, file.version)))
    return f"{what} (sha256:{file.sha256[:12]}...)"


def _described(locked: LockedFiles, report: PrefetchReport, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry-run": dry_run,
        "bytes": report.fetched_bytes,
        **{state.value: len(report.of(state)) for state in FileState},
        "private": report.private,
        "foreign": [str(each.place) for each in locked.foreign],
        "refusals": [
            {
                "project": each.file.project,
                "version": each.file.version,
                "filename": each.file.filename,
                "sha256": each.file.sha256,
                "state": each.state.value,
                "message": each.why,
            }
            for each in report.results
            if each.why
        ],
    }
