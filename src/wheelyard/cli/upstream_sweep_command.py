"""`wheelyard upstream sweep`: removes files of public packages that nobody uses."""

from datetime import UTC, datetime

from click import Option

from wheelyard.catalog.store_clock import StoreClock
from wheelyard.cli import quantities
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import command_settings
from wheelyard.cli.output import print_line, print_result
from wheelyard.cli.shared_options import OUTPUT, STORE
from wheelyard.errors import Invalid
from wheelyard.model.decoding import counted, escaped
from wheelyard.upstream import kept_files
from wheelyard.wiring.build import open_index
from wheelyard.wiring.stores import upstream_store


@cli_command(
    "sweep",
    Option(
        ["--unused-for"],
        metavar="TIME",
        help="Remove files that were not used for so long: 90d, 8w. A use is noted once a day.",
    ),
    Option(
        ["--max-size"],
        metavar="SIZE",
        help=(
            "Then remove files until the rest takes no more than so much: 200GiB. Those go "
            "first that were not used for longest."
        ),
    ),
    Option(["--dry-run"], is_flag=True, help="Say what would be removed, and remove nothing."),
    OUTPUT,
    STORE,
    examples=(
        "wheelyard upstream sweep --unused-for 90d --dry-run",
        "wheelyard upstream sweep --unused-for 90d --max-size 200GiB",
    ),
    page="upstream-behaviour.md",
)
def sweep(*, unused_for: str | None, max_size: str | None, dry_run: bool) -> None:
    """
    Remove files of upstream indexes that nobody uses.

    Private files are never touched. Servers may run meanwhile: a file that is asked for again is
    fetched again. Pages stay, as they say who owns a name.
    """
    if unused_for is None and max_size is None:
        raise Invalid("Say what to remove: --unused-for 90d, or --max-size 200GiB, or both.")
    least_unused = None
    if unused_for is not None:
        least_unused = quantities.parse_duration(unused_for)
    max_bytes = None
    if max_size is not None:
        max_bytes = quantities.parse_size(max_size)
    rules = kept_files.SweepRules(unused_for=least_unused, max_bytes=max_bytes)
    settings = command_settings()
    index = open_index(settings, create=False)
    store = upstream_store(settings, index.stores, index.server.traits.operation_counter)

    # by the clock of the store, as the clock of this machine may be wrong
    upstream_sweep = kept_files.UpstreamSweep(StoreClock(store, index.server.runtime))
    report = upstream_sweep.run(rules, dry_run=dry_run)
    if dry_run:
        for file in report.removed:
            _print_swept(file)
    size = sum(file.size for file in report.removed)
    verb = "would remove" if dry_run else "removed"
    removal = f"{verb} {counted(len(report.removed), 'file')}, {quantities.describe_size(size)}"
    remainder = f"{counted(report.kept, 'file')}, {quantities.describe_size(report.kept_bytes)}"
    print_result(_report_json(report, size), [f"{removal}; what stays: {remainder}"])


def _print_swept(file: kept_files.KeptFile) -> None:
    """Print the line about a file that would be removed."""
    last_use = datetime.fromtimestamp(file.last_use, UTC)
    filename = file.path.rpartition("/")[2]
    print_line(f"{escaped(filename)}\t{file.size}\tlast used {last_use:%Y-%m-%d}")


def _report_json(report: kept_files.SweepReport, size: int) -> dict[str, object]:
    """Return a report as `--json` prints it, with times in seconds since the epoch."""
    removed = []
    for file in report.removed:
        described = {
            "upstream": file.upstream,
            "file": file.path,
            "size": file.size,
            "used": int(file.last_use),
        }
        removed.append(described)
    return {
        "removed": removed,
        "removed_bytes": size,
        "kept": report.kept,
        "kept_bytes": report.kept_bytes,
    }
