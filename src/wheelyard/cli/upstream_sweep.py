"""`wheelyard upstream sweep`: make room by removing files that nobody uses."""

from datetime import UTC, datetime

import click

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import command_settings, store_options
from wheelyard.cli.output import output_options, print_json, print_line
from wheelyard.cli.quantities import describe_size, parse_duration, parse_size
from wheelyard.errors import Invalid
from wheelyard.model.text import counted, escaped
from wheelyard.upstream.sweep import SweepReport, SweepRules, SweptFile, UpstreamSweep
from wheelyard.wiring.index import open_index
from wheelyard.wiring.stores import upstream_store


@examples(
    "upstream.md",
    "wheelyard upstream sweep --unused-for 90d --dry-run",
    "wheelyard upstream sweep --unused-for 90d --max-size 200GiB",
)
@click.command("sweep")
@click.option(
    "--unused-for",
    metavar="TIME",
    help="Remove files that were not used for so long: 90d, 8w. A use is noted once a day.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    help="Then remove files until the rest takes no more than so much: 200GiB. Those go first "
    "that were not used for longest.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@output_options
@store_options
def sweep(*, unused_for: str | None, max_size: str | None, dry_run: bool) -> None:
    """
    Remove files of upstream indexes that nobody uses; private ones are never touched.

    Servers may run meanwhile: a file that is asked for again is fetched again. Pages stay, as they
    say who owns a name.
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

    def show(file: SweptFile) -> None:
        used = datetime.fromtimestamp(file.last_use, UTC).strftime("%Y-%m-%d")
        print_line(f"{escaped(file.path.rpartition('/')[2])}\t{file.size}\tlast used {used}")

    work = UpstreamSweep(store, index.runtime)
    report = work.run(rules, dry_run=dry_run, progress=show if dry_run else lambda _: None)
    size = sum(each.size for each in report.removed)
    verb = "would remove" if dry_run else "removed"
    what = f"{verb} {counted(len(report.removed), 'file')}, {describe_size(size)}"
    rest = f"{counted(report.kept, 'file')}, {describe_size(report.kept_bytes)}"
    print_line(f"{what}; what stays: {rest}")
    print_json(_described(report, size))


def _described(report: SweepReport, size: int) -> dict[str, object]:
    removed = [
        {
            "upstream": each.upstream,
            "file": each.path,
            "size": each.size,
            "used": int(each.last_use),
        }
        for each in report.removed
    ]
    kept = {"kept": report.kept, "kept_bytes": report.kept_bytes}
    return {"removed": removed, "removed_bytes": size, **kept}
