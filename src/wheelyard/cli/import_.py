"""`wheelyard import`: import from another index, a folder or a bucket."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from click import Argument, Option

from wheelyard.cli.command import OUTPUT, cli_command, complete_path
from wheelyard.cli.import_progress import build_importer, import_source
from wheelyard.cli.options import (
    STORE,
    command_settings,
    ensure_index,
    local_caller,
    warn_without_upstream,
)
from wheelyard.cli.output import print_message, print_result, printable
from wheelyard.http_client.urls import UserPassword, redact_url
from wheelyard.operations.importing.report import FileStatus, Report
from wheelyard.settings.load import process_environment
from wheelyard.settings.sections import Settings
from wheelyard.sources.source_factory import AUTO, KIND_TITLES, KINDS, SourceRequest, open_source
from wheelyard.wiring.index import index_without_store, open_index
from wheelyard.wiring.stores import has_store, system_runtime

USERNAME: Final = "WHEELYARD_IMPORT_USERNAME"
PASSWORD: Final = "WHEELYARD_IMPORT_PASSWORD"  # noqa: S105 - the name of a variable
"""Variables with the credentials of the other index, besides its URL and netrc."""


@cli_command(
    "import",
    Argument(["source"], metavar="SOURCE", shell_complete=complete_path),
    Option(["--dry-run"], is_flag=True),
    Option(["--lenient"], is_flag=True),
    Option(["--from", "kind"], type=click.Choice(KINDS), default=AUTO, show_default=True),
    Option(["--project", "projects"], multiple=True, metavar="PATTERN"),
    Option(["--meta"], default="", metavar="PLACE"),
    Option(["--packages-url"], default="", metavar="PLACE"),
    Option(["--index", "indexes"], multiple=True, metavar="USER/INDEX"),
    Option(["--mirrors"], is_flag=True),
    Option(["--allow-private"], is_flag=True),
    *OUTPUT,
    *STORE,
)
def command(**options: Any) -> int:  # noqa: ANN401 - click's; each goes where it is parsed
    """
    Import SOURCE: a folder, a bucket, a package list, or another index's URL.

    SOURCE is not changed. Files that the index has already are skipped, so the command can be run
    again at any time. For each file that cannot be imported, the reason is printed, and the import
    continues.

    Options:
        --dry-run: Read and check everything, and write nothing.
        --lenient: Take old files that fail only today's rules.
        --from: What SOURCE is.
        --project: Only these.
        --meta: backupni: where the .meta files are.
        --packages-url: dumb-pypi: where the files of a list are.
        --index: devpi: only these.
        --mirrors: devpi: the mirrored files, too.
        --allow-private: Follow links to private addresses of other hosts than SOURCE's, too.

    Examples:
        wheelyard import ~/packages --dry-run
        wheelyard import https://packages.example.com/simple/ --project 'acme-*'
        wheelyard import s3://old-packages/pypi --lenient

    Documentation: docs/importing.md
    """
    settings, dry_run = command_settings(), options["dry_run"]
    opened = open_source(_request(options, settings), system_runtime())
    try:
        if options["kind"] == AUTO:
            print_message(logging.INFO, f"taken for {KIND_TITLES[opened.kind]}")
        if not dry_run:
            index = ensure_index(settings)
        elif has_store(settings):
            index = open_index(settings, create=False)
        else:
            index = index_without_store(settings)
        warn_without_upstream(index)
        is_local = "://" not in options["source"] + options["packages_url"]
        importer = build_importer(index, is_local=is_local, lenient=options["lenient"])
        report = import_source(importer, opened, local_caller(index), dry_run=dry_run)
    finally:
        opened.close()
    summary = f"{redact_url(options['source'])}: {report.summary(dry_run=dry_run)}"
    waived = [f"excused: {rule} ({count})" for rule, count in sorted(report.waived_rules.items())]
    print_result(_described(report, opened.kind, dry_run=dry_run), [summary, *waived])
    return 1 if report.counts[FileStatus.REFUSED] else 0


def _request(options: Mapping[str, Any], settings: Settings) -> SourceRequest:
    environ = process_environment()
    username, password = environ.get(USERNAME, ""), environ.get(PASSWORD, "")
    netrc = environ.get("NETRC")  # as for curl and pip
    same = ("kind", "meta", "packages_url", "indexes", "mirrors", "projects", "allow_private")
    return SourceRequest(
        text=options["source"],
        excluded=(Path(settings.store.location),),
        # either of them alone may be a token
        login=UserPassword(username, password) if username or password else None,
        netrc=Path(netrc).expanduser() if netrc else None,
        **{name: options[name] for name in same},
    )


def _described(report: Report, kind: str, *, dry_run: bool) -> dict[str, object]:
    return {
        "source": kind,
        "dry-run": dry_run,
        **{status.value.replace("_", "-"): report.counts[status] for status in FileStatus},
        "excused": dict(sorted(report.waived_rules.items())),
        "refusals": [
            {
                "place": printable(each.location),
                "error": each.code,
                "message": printable(each.why),
            }
            for each in report.refused
        ],
        "skips": [printable(each.location) for each in report.skipped],
    }
