"""`wheelyard copy`: copy a store to another place, to back it up or to move it."""

import os
from typing import Final

import click
from click import Argument, Option
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.cli.command import OUTPUT, cli_command, complete_path
from wheelyard.cli.options import CONFIG, command_settings, ensure_index, warn_without_upstream
from wheelyard.cli.output import print_result, progress_bar, resumable, warn
from wheelyard.errors import Invalid
from wheelyard.model.decoding import counted, escaped
from wheelyard.operations.copying.credential_copy import UpstreamCopy
from wheelyard.operations.copying.store_copy import CopyReport, StoreCopy
from wheelyard.settings.sections import MEMORY_LOCATION, Settings, StoreSettings
from wheelyard.storage.location import BUCKET_FORMS, is_bucket, parse_location
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import CopySource, StoreTraits, open_copy_source, upstream_store

LOCAL_THREADS: Final = 4
REMOTE_THREADS: Final = 16
"""Objects that are copied at a time."""


@cli_command(
    "copy",
    Argument(["source"], metavar="FROM", shell_complete=complete_path),
    Argument(["target"], metavar="TO", shell_complete=complete_path),
    Option(["--with-credentials"], is_flag=True),
    *OUTPUT,
    CONFIG,
)
def copy_command(*, source: str, target: str, with_credentials: bool) -> int:
    """
    Copy the store FROM into the store TO; each is a folder or a bucket.

    Only what TO lacks is written, and every digest is verified. FROM may be written meanwhile: what
    arrives is its state when the copy began. After an interruption, copy again.

    Files that were deleted in FROM stay in TO, unlisted, until 'wheelyard check --sweep' there. A
    project that was changed in TO is left alone, and the command fails. FROM may be a store of the
    format before, which this version only copies.

    Options:
        --with-credentials: Also the API tokens, as digests, and the grants of the store.

    Examples:
        wheelyard copy ./wheelyard-data /mnt/backup/wheelyard
        wheelyard copy gs://acme-packages gs://acme-backup --with-credentials
        wheelyard copy --quiet gs://acme-packages/team ./copy

    Documentation: docs/backup.md
    """
    settings = command_settings()
    _require_apart([source], [target])
    opened = open_copy_source(_settings_of(settings, source))
    _require_apart(_locations(source, opened.traits), [target])
    target_index = ensure_index(_settings_of(settings, target))
    warn_without_upstream(target_index)
    _require_apart(_locations(source, opened.traits), _locations(target, target_index.traits))
    copy = _store_copy(settings, _place(source), opened, target_index)
    columns = ("SpinnerColumn", "DownloadColumn", "{task.description}")
    stays = "What was copied stays; copy again to go on from there."
    with resumable(stays), progress_bar("copy", *columns) as update:
        report = copy.run(
            lambda name, size: update(advance=size, description=name),
            with_credentials=with_credentials,
        )
    report.notes = [escaped(note) for note in opened.notes]
    report.problems = [escaped(problem) for problem in report.problems]
    for note in report.notes:
        warn(note)
    for problem in report.problems:
        click.echo(f"wheelyard: not copied: {problem}", err=True)
    if with_credentials and not any(opened.stores.credentials.list(keys.CREDENTIALS)):
        warn(
            "FROM has no token and no grant. If access.credentials_store names another place for "
            "them, give the --config of the server."
        )
    print_result(report, [_summary(target, report, with_credentials=with_credentials)])
    return 1 if report.problems else 0


def _store_copy(
    settings: Settings, origin: str, opened: CopySource, target_index: Index
) -> StoreCopy:
    """Return the copy of an opened store, at this location, into an index."""
    is_local = opened.traits.is_local and target_index.is_local
    is_shared = settings.upstream.bucket and opened.old is None
    counter = target_index.traits.operation_counter
    upstream = upstream_store(settings, target_index.stores, counter)
    copied = UpstreamCopy(opened.upstream, upstream, target_index.retries)
    return StoreCopy(
        source=opened.stores_for(target_index.stores),
        source_changes=opened.changes,
        origin=origin,
        target=target_index.stores,
        target_changes=target_index.changes,
        projects=target_index.projects,
        access=target_index.access.records,
        decisions=target_index.decisions,
        upstream=None if is_shared else copied,
        spool=target_index.spool,
        threads=LOCAL_THREADS if is_local else REMOTE_THREADS,
        claims_names=settings.upstream.enabled,
    )


def _summary(target: str, report: CopyReport, *, with_credentials: bool) -> str:
    moment = f" as of {report.moment:%Y-%m-%d %H:%M:%S} UTC" if report.moment else ""
    written = f"{counted(report.objects, 'object')} written, {report.size} bytes"
    decisions = f", {counted(report.decisions, 'decision')}" if report.decisions else ""
    if report.upstream:
        decisions += f", {counted(report.upstream, 'object')} about public names"
    credentials = (
        f", {counted(report.credentials, 'object')} of credentials" if with_credentials else ""
    )
    changed = counted(report.changed, "name")  # which may be a released one, so no project
    return (
        f"{target}: {counted(report.projects, 'project')}{moment}, changes of {changed}; "
        f"{written}{decisions}{credentials}"
    )


def _settings_of(settings: Settings, location: str) -> Settings:
    """Return the settings for a store: what they say of the configured one is for no other one."""
    if location == MEMORY_LOCATION:
        raise Invalid(
            "A store in memory is empty, and ends with the command. Name a folder or a bucket.",
            code="bad_setting",
        )
    if _place(location) == _place(settings.store.location):
        is_public = settings.store.downloads == "public"  # written into each object
        store = replace(settings.store, downloads="public" if is_public else "proxy")
        return replace(settings, store=store)
    access = replace(settings.access, credentials_store="")
    store = StoreSettings(location=location, downloads="proxy")
    return replace(settings, store=store, access=access)


def _locations(location: str, traits: StoreTraits) -> list[str]:
    """Return every location in which a store has objects."""
    return [location, *filter(None, (traits.files, traits.credentials))]


def _require_apart(source: list[str], target: list[str]) -> None:
    for one in source:
        for other in target:
            if _place(one).startswith(_place(other)) or _place(other).startswith(_place(one)):
                raise Invalid(
                    f"{escaped(one)} of FROM and {escaped(other)} of TO are the same place, or one "
                    "is in the other. Name another place for TO.",
                    code="bad_setting",
                )


def _place(location: str) -> str:
    """Return a location in the one form that its other spellings have, too; it ends in a slash."""
    if not location:
        raise Invalid(f"FROM or TO is empty. Name a folder, {BUCKET_FORMS}.", code="bad_setting")
    path = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    return f"{path.rstrip('/')}/"
