"""`wheelyard yank`, `pin`, `delete`, `restore` and others: commands that change releases."""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import click
from click import Argument, Option
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from wheelyard.api import project_operations
from wheelyard.api.operation import Call
from wheelyard.api.project_operations import ChangedProject, DeletionRequest, ReleaseChange
from wheelyard.cli.options import PACKAGES, open_api
from wheelyard.cli.output import (
    PROJECT,
    REASON,
    YES_HELP,
    cli_command,
    confirm_name,
    is_interactive,
    print_message,
)
from wheelyard.cli.program import command_line
from wheelyard.errors import Conflict
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_name, parse_version, parse_version_set
from wheelyard.model.promotion import describe_index

RELEASE: Final = (
    PROJECT,
    Argument(["version"], required=False),
    Option(
        ["--versions"],
        metavar="SET",
        help="Every release of a set, by PEP 440: '<2', '==1.*', '>=1.0,!=1.5'. Pre-releases "
        "count, too: '<2' has 1.9rc1, and not 2.0rc1.",
    ),
    Option(["--file"], metavar="NAME", help="Only this file of the release."),
    REASON,
)
"""Which releases are changed, and why."""


@cli_command("yank", *RELEASE, *PACKAGES)
def yank_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """
    Mark VERSION of PROJECT, or one file of it, as not to be chosen any more.

    Examples:
        wheelyard yank acme-core 1.0 --reason 'loses data on 3.14'
        wheelyard yank acme-core --versions '<2' --reason 'no longer supported'
        wheelyard yank acme-core 1.0 --file acme_core-1.0-py3-none-any.whl

    Documentation: projects.md
    """
    _change(project_operations.yank, "yanked", "already yanked", **release)


@cli_command("unyank", *RELEASE, *PACKAGES)
def unyank_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """
    Take the mark of `yank` back.

    Examples:
        wheelyard unyank acme-core 1.0
        wheelyard unyank acme-core --versions '>=1.5,<2'

    Documentation: projects.md
    """
    _change(project_operations.unyank, "no longer yanked", "not yanked", **release)


@cli_command("pin", *RELEASE, *PACKAGES)
def pin_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """
    Keep VERSION of PROJECT from rules of retention. It can still be deleted by hand.

    Examples:
        wheelyard pin acme-core 1.0 --reason 'runs at a customer'
        wheelyard pin acme-core --versions '==1.*'

    Documentation: retention.md
    """
    _change(project_operations.pin, "pinned", "already pinned", **release)


@cli_command("unpin", *RELEASE, *PACKAGES)
def unpin_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """
    Take back what `pin` did.

    Examples:
        wheelyard unpin acme-core 1.0
        wheelyard unpin acme-core --versions '<2'

    Documentation: retention.md
    """
    _change(project_operations.unpin, "no longer pinned", "not pinned", **release)


def _change(
    action: Callable[[Call, NormalizedName, ReleaseChange], ChangedProject],
    done: str,
    undone: str,
    *,
    project: str,
    **release: Any,  # noqa: ANN401 - click's
) -> None:
    change = _parse_change(**release)
    changed = open_api().call(action, parse_name(project), change)
    _print_files(changed, change, done, undone)


def _parse_change(
    version: str | None, versions: str | None, file: str | None, reason: str
) -> ReleaseChange:
    if (version is None) == (versions is None):
        raise click.UsageError("Give either VERSION or --versions.")
    one = "" if version is None else str(parse_version(version))
    several = "" if versions is None else str(parse_version_set(versions))
    return ReleaseChange(one, several, file, reason)


def _print_files(project: ChangedProject, change: ReleaseChange, done: str, undone: str) -> None:
    lines = _file_lines(project, done) or [_line_about(project, change, undone)]
    for line in lines:
        click.echo(line)


def _file_lines(project: ChangedProject, done: str) -> list[str]:
    counts = Counter(file.filename for file in project.changed)
    return [
        f"{project.name} {escaped(file.version)}: {done}  {escaped(file.filename)}"
        # indexes may have different bytes of one filename
        + (f" (sha256:{escaped(file.sha256[:12])}...)" if counts[file.filename] > 1 else "")
        for file in project.changed
    ]


def _line_about(project: ChangedProject, change: ReleaseChange, what: str) -> str:
    return f"{project.name} {change.version or change.versions}: {what}"


@cli_command(
    "delete",
    *RELEASE,
    Option(["--dry-run"], is_flag=True),
    Option(["--now"], is_flag=True),
    Option(["--everywhere"], is_flag=True),
    Option(["--yes"], is_flag=True, help=YES_HELP),
    *PACKAGES,
)
def delete_command(
    *,
    project: str,
    dry_run: bool,
    now: bool,
    everywhere: bool,
    yes: bool,
    **release: Any,  # noqa: ANN401 - click's
) -> int:
    """
    Remove VERSION of PROJECT, or one file of it. For 30 days `wheelyard restore` brings it back.

    Nobody can install it any more, and its filenames stay taken. The bytes are kept for the 30
    days, and served to nobody. If everybody can read the bucket, they go at once. The bytes of a
    file that another index of the store has stay.

    On a terminal it shows the files, and asks for the name of the project.

    Options:
        --dry-run: Print what would be deleted, and delete nothing.
        --now: Remove the bytes now, also of files that are deleted already. For administrators.
        --everywhere: With --now, from all indexes of the store.

    Examples:
        wheelyard delete acme-core 1.0 --reason 'does not start'
        wheelyard delete acme-core --versions '<2' --dry-run
        wheelyard delete acme-core 1.0 --now --reason 'contains a secret'

    Documentation: projects.md
    """
    parsed = _parse_change(**release)
    change = DeletionRequest(**asdict(parsed), now=now, everywhere=everywhere)
    if everywhere and not now:
        raise click.UsageError("--everywhere needs --now.")
    if not (dry_run or yes or is_interactive()):
        raise click.UsageError("Nobody can be asked here. Give --yes to delete, or --dry-run.")
    api, name = open_api(), parse_name(project)
    if dry_run or not yes:
        trial = replace(change, dry_run=True)
        trial_result = api.call(project_operations.delete, name, trial)
        is_question = not dry_run and _has_changed(trial_result)
        _print_deletion(trial_result, change, "would be ", err=is_question)
        if not is_question:
            return 0
        if not confirm_name(name, _consequence(trial_result, now=now)):
            click.echo("wheelyard: nothing was deleted", err=True)
            return 1
        # the person has agreed to these files in these indexes, and to no others
        agreed = (trial_result.changed, trial_result.removed_from)
        now_there = api.call(project_operations.delete, name, trial)
        if (now_there.changed, now_there.removed_from) != agreed:
            message = "Nothing was deleted: meanwhile the files have changed. Try again."
            raise Conflict(message)
    deleted = api.call(project_operations.delete, name, change)
    _print_deletion(deleted, change)
    _print_fate(deleted, change)
    return 0


def _has_changed(deleted: ChangedProject) -> bool:
    """Return whether anything was deleted: files, or bytes of files that were deleted before."""
    return bool(deleted.changed or deleted.removed_from or deleted.leftovers)


def _print_deletion(
    deleted: ChangedProject, change: DeletionRequest, would: str = "", *, err: bool = False
) -> None:
    """Say what was deleted, or with the words in `would`, what would be, and from where."""
    lines = _file_lines(deleted, f"{would}deleted")
    if deleted.removed_from:
        names = ", ".join(map(describe_index, deleted.removed_from))
        lines.append(_line_about(deleted, change, f"{would}removed from other indexes  {names}"))
    if deleted.leftovers:
        objects = counted(deleted.leftovers, "object")
        what = f"{would}removed  {objects} of files that were deleted before"
        lines.append(_line_about(deleted, change, what))
    for line in lines or [_line_about(deleted, change, "already deleted")]:
        click.echo(line, err=err)


def _consequence(deleted: ChangedProject, *, now: bool) -> str:
    """Return what a delete leads to, in words."""
    if not isinstance(deleted.keep_until, datetime):
        unless = "" if now else ", unless another index has the files"
        return f"The bytes are lost for ever{unless}, and these filenames can never be used again."
    return (
        f"They can be restored until {deleted.keep_until:%Y-%m-%d}, and their filenames stay taken."
    )


def _print_fate(deleted: ChangedProject, change: DeletionRequest) -> None:
    """Say on standard error what has become of the bytes of deleted files."""
    if change.now and _has_changed(deleted):
        message = (
            "the bytes are gone from the store; purge caches in front of it, and look at copies, "
            "exports and backups"
        )
        print_message(logging.INFO, message)
    if not deleted.changed or change.now:
        return
    words: list[str] = [deleted.name]
    words += [change.version] if change.version else ["--versions", change.versions]
    if isinstance(change.file, str):
        words += ["--file", change.file]
    if isinstance(deleted.keep_until, datetime):
        message = (
            f"the bytes are kept until {deleted.keep_until:%Y-%m-%d}: "
            f"{command_line('restore', *words)} brings the files back, and "
            f"{command_line('delete', *words, '--now')} removes the bytes now, unless another "
            "index has the files"
        )
    else:
        message = (
            "nothing can be restored: everybody can read the bucket, or the server is an older "
            "one. The bytes were removed, unless another index has the files, which "
            f"{command_line('delete', *words, '--now', '--dry-run')} says"
        )
    print_message(logging.INFO, message)


@cli_command(
    "restore",
    *RELEASE,
    Option(["--dry-run"], is_flag=True),
    *PACKAGES,
)
def restore_command(*, project: str, dry_run: bool, **release: Any) -> int:  # noqa: ANN401 - click's
    """
    Restore VERSION of PROJECT, or one file of it, that was deleted in the last 30 days.

    The files come back as they were, and pinned if a rule of retention has deleted them. Without a
    version it prints what can be restored.

    Options:
        --dry-run: Print what would be restored, and restore nothing.

    Examples:
        wheelyard restore acme-core
        wheelyard restore acme-core 1.0 --reason 'was not the broken one'
        wheelyard restore acme-core --versions '<2' --dry-run

    Documentation: projects.md
    """
    api, name = open_api(), parse_name(project)
    if release["version"] is None and release["versions"] is None and release["file"] is None:
        kept = api.call(project_operations.get_project, name).trash
        for file in kept:
            columns = (file.version, file.filename, str(file.size), f"{file.keep_until:%Y-%m-%d}")
            click.echo("\t".join(map(escaped, columns)))
        if not kept:
            print_message(logging.INFO, f"{name} has no deleted file that can be restored")
        return 0
    change = replace(_parse_change(**release), dry_run=dry_run)
    restored = api.call(project_operations.restore, name, change)
    done = "would be restored" if dry_run else "restored"
    _print_files(restored, change, done, "nothing of it is deleted")
    if any(file.pinned for file in restored.changed):
        message = "pinned, so that no rule of retention deletes it; 'wheelyard unpin' undoes that"
        print_message(logging.INFO, message)
    return 0
