"""`wheelyard upstream prefetch`, `list` and `sweep`: what the store has of upstream indexes."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Final, Literal

import click
from click import Argument, Option
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import public_package_operations
from wheelyard.api.public_package_operations import KeptPackages, KeptQuery
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.cli.options import (
    INDEX,
    STORE,
    command_settings,
    ensure_index,
    open_api,
    require_upstream,
)
from wheelyard.cli.output import (
    JSON,
    OUTPUT,
    cli_command,
    describe_size,
    parse_duration,
    parse_size,
    print_line,
    print_result,
    resumable,
    shown_progress,
)
from wheelyard.errors import Invalid
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.public_packages import KeptPackage
from wheelyard.upstream.kept_files import KeptFile, SweepReport, SweepRules, UpstreamSweep
from wheelyard.upstream.lock_files import LockedFile, LockedFiles, read_lock_files
from wheelyard.upstream.prefetch import FileState, Prefetch, PrefetchReport
from wheelyard.wiring.build import open_index
from wheelyard.wiring.stores import upstream_store

DEFAULT_JOBS: Final = 8
MAX_JOBS: Final = 32
INCOMPLETE_STATUS: Final = 3
"""The exit status if a listed file is on no page, the policy does not show it, or it is blocked."""


def requirements_option(*, required: bool) -> Option:
    """Return the option `-r`, which names lock files."""
    return Option(
        ["-r", "--requirement", "paths"],
        type=click.Path(path_type=Path),
        multiple=True,
        required=required,
        metavar="FILE",
    )


@cli_command(
    "prefetch",
    requirements_option(required=True),
    Option(["--dry-run"], is_flag=True),
    Option(["--jobs"], type=click.IntRange(1, MAX_JOBS), default=DEFAULT_JOBS, show_default=True),
    *OUTPUT,
    *STORE,
)
def prefetch(*, paths: tuple[Path, ...], dry_run: bool, jobs: int) -> int:
    """
    Bring exactly the files whose digests are listed in lock files into the store.

    Markers are not evaluated: the files for every platform are brought. What is in the store
    already is not fetched again, so the command can be run again at any time. Private names are
    left out, and never asked for elsewhere.

    The exit status is 3 if an upstream index does not have a listed file, or a rule of [upstream]
    hides it, and 1 if a file could not be fetched.

    Options:
        --requirement: pylock.toml, or requirements with hashes; - for standard input; may be given
            again.
        --dry-run: Say what would be fetched, and fetch no file.
        --jobs: How many files are fetched at a time.

    Examples:
        wheelyard upstream prefetch -r requirements.txt
        wheelyard upstream prefetch -r pylock.toml -r tools/pylock.toml --dry-run

    Documentation: upstream.md
    """
    locked = read_lock_files(paths)
    upstream = require_upstream(ensure_index(command_settings()))
    if upstream.config.offline:
        raise Invalid(
            "upstream.offline is set, so nothing can be fetched. Prefetch where there is a "
            "connection, with WHEELYARD_UPSTREAM_OFFLINE=false.",
            code="bad_setting",
        )
    stays = "What was fetched stays; prefetch again to go on from there."
    with closing(upstream), resumable(stays), shown_progress("prefetch", is_size=True) as progress:
        work = Prefetch(index=upstream, jobs=jobs, received=progress.advance)
        report = work.run(locked, dry_run=dry_run)
    for line in _problems(report):
        click.echo(f"wheelyard: {escaped(line)}", err=True)
    result = _described(locked, report, dry_run=dry_run)
    print_result(result, _lines(locked, report, dry_run=dry_run))
    # what failed may succeed the next time; what is missing or refused needs a person
    if report.in_state(FileState.FAILED):
        return 1
    is_complete = not report.in_state(FileState.MISSING) and not report.in_state(FileState.REFUSED)
    return 0 if is_complete else INCOMPLETE_STATUS


def left_out(locked: LockedFiles, private: Sequence[NormalizedName]) -> Iterator[str]:
    """Yield a line for each package of lock files that no upstream index is asked for."""
    for foreign in locked.foreign:
        yield f"left out: {foreign.place} is {foreign.origin}, which no index has"
    for name in private:
        yield f"left out: {name} is private, and never asked for elsewhere"


def _lines(locked: LockedFiles, report: PrefetchReport, *, dry_run: bool) -> Iterator[str]:
    yield from left_out(locked, report.private)
    verb = "would be fetched" if dry_run else "fetched"
    fetched, present = report.in_state(FileState.FETCHED), report.in_state(FileState.PRESENT)
    lacking = len(report.results) - len(fetched) - len(present)
    size = describe_size(report.fetched_bytes)
    yield (
        f"{counted(len(fetched), 'file')} {verb}, {size}; {len(present)} in the store already; "
        f"{lacking} not to be had"
    )


def _problems(report: PrefetchReport) -> Iterator[str]:
    """Yield a line for each reason why files of a project are not in the store."""
    # one line for a project whose index does not answer, and not one for each of its files
    groups = dict[tuple[str, str], list[LockedFile]]()
    for result in report.results:
        if result.why:
            groups.setdefault((result.file.project, result.why), []).append(result.file)
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
        **{state.value: len(report.in_state(state)) for state in FileState},
        "private": report.private,
        "foreign": [str(foreign.place) for foreign in locked.foreign],
        "refusals": [
            {
                "project": result.file.project,
                "version": result.file.version,
                "filename": result.file.filename,
                "sha256": result.file.sha256,
                "state": result.state.value,
                "message": result.why,
            }
            for result in report.results
            if result.why
        ],
    }


@cli_command(
    "list",
    Argument(["project"], required=False),
    Option(["--sort"], type=click.Choice(["size", "used", "name"]), default="size"),
    JSON,
    *INDEX,
)
def list_kept(*, project: str | None, sort: Literal["size", "used", "name"]) -> None:
    """
    Print what the store keeps of public packages: files, size, and when they were used last.

    Each line is a project, or with PROJECT a version of it. The last line has the total. A use is
    noted once a day; 'sweep' decides by the same figures. No file is read.

    Options:
        --sort: size: the largest first; used: those first that were not used for longest; name.
            [default: size]

    Examples:
        wheelyard upstream list --sort used
        wheelyard upstream list torch
        wheelyard upstream list --json --server https://packages.acme.dev

    Documentation: upstream-behaviour.md
    """
    name = parse_name(project) if project else None
    kept = open_api().call(public_package_operations.list_kept, KeptQuery(name))
    packages = list(kept.packages)  # the largest first
    if sort == "used":
        packages.sort(key=attrgetter("last_used"))
    elif sort == "name":
        packages.sort(key=lambda package: (package.project, _ordered(package.version)))
    print_result(replace(kept, packages=tuple(packages)), _kept_lines(packages, kept))


def _ordered(version: str) -> tuple[bool, Version]:
    """Return what versions are sorted by, those first that are not known."""
    return bool(version), Version(version or "0")


def _kept_lines(packages: Sequence[KeptPackage], kept: KeptPackages) -> Iterator[tuple[str, ...]]:
    # projects have one upstream index each, unless one was changed
    has_several = len({package.upstream for package in packages}) > 1
    for package in packages:
        yield (
            f"{package.project} {package.version}".rstrip(),
            counted(package.files, "file"),
            describe_size(package.bytes),
            f"last used {package.last_used:%Y-%m-%d}",
            *((package.upstream,) if has_several else ()),
        )
    yield (f"total: {counted(kept.files, 'file')}, {describe_size(kept.bytes)}",)


@cli_command(
    "sweep",
    Option(["--unused-for"], metavar="TIME"),
    Option(["--max-size"], metavar="SIZE"),
    Option(["--dry-run"], is_flag=True),
    *OUTPUT,
    *STORE,
)
def sweep(*, unused_for: str | None, max_size: str | None, dry_run: bool) -> None:
    """
    Remove files of upstream indexes that nobody uses.

    Private files are never touched. Servers may run meanwhile: a file that is asked for again is
    fetched again. Pages stay, as they say who owns a name.

    Options:
        --unused-for: Remove files that were not used for so long: 90d, 8w. A use is noted once a
            day.
        --max-size: Then remove files until the rest takes no more than so much: 200GiB. Those go
            first that were not used for longest.
        --dry-run: Say what would be removed, and remove nothing.

    Examples:
        wheelyard upstream sweep --unused-for 90d --dry-run
        wheelyard upstream sweep --unused-for 90d --max-size 200GiB

    Documentation: upstream-behaviour.md
    """
    if unused_for is None and max_size is None:
        raise Invalid("Say what to remove: --unused-for 90d, or --max-size 200GiB, or both.")
    rules = SweepRules(
        unused_for=None if unused_for is None else parse_duration(unused_for),
        max_bytes=None if max_size is None else parse_size(max_size),
    )
    settings = command_settings()
    index = open_index(settings, create=False)
    store = upstream_store(settings, index.stores, index.traits.operation_counter)
    work = UpstreamSweep(StoreClock(store, index.runtime))
    report = work.run(rules, dry_run=dry_run)
    if dry_run:
        for file in report.removed:
            _print_swept(file)
    size = sum(file.size for file in report.removed)
    verb = "would remove" if dry_run else "removed"
    what = f"{verb} {counted(len(report.removed), 'file')}, {describe_size(size)}"
    rest = f"{counted(report.kept, 'file')}, {describe_size(report.kept_bytes)}"
    print_result(_described_sweep(report, size), [f"{what}; what stays: {rest}"])


def _print_swept(file: KeptFile) -> None:
    used = datetime.fromtimestamp(file.last_use, UTC).strftime("%Y-%m-%d")
    print_line(f"{escaped(file.path.rpartition('/')[2])}\t{file.size}\tlast used {used}")


def _described_sweep(report: SweepReport, size: int) -> dict[str, object]:
    removed = [
        {
            "upstream": file.upstream,
            "file": file.path,
            "size": file.size,
            "used": int(file.last_use),
        }
        for file in report.removed
    ]
    kept = {"kept": report.kept, "kept_bytes": report.kept_bytes}
    return {"removed": removed, "removed_bytes": size, **kept}
