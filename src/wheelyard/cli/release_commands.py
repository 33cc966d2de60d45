"""`wheelyard yank`, `pin`, `delete`, `restore` and others: commands that change releases."""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import click
from click import Argument, Option
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.api import project_operations
from wheelyard.api.operation import Call
from wheelyard.cli import output, shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.program import command_line
from wheelyard.cli.standard_streams import is_interactive
from wheelyard.errors import Conflict
from wheelyard.model import distribution_filename
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.index_name import read_index_name

RELEASE_OPTIONS: Final = (
    shared_options.PROJECT,
    Argument(["version"], required=False),
    Option(
        ["--versions"],
        metavar="SET",
        help="Every release of a set, by PEP 440: '<2', '==1.*', '>=1.0,!=1.5'. Pre-releases "
        "count, too: '<2' has 1.9rc1, and not 2.0rc1.",
    ),
    Option(["--file"], metavar="NAME", help="Only this file of the release."),
    shared_options.REASON,
)
"""Which releases are changed, and why."""
DIGEST: Final = "sha256:"
"""The prefix of a digest, which no version has."""


@cli_command(
    "yank",
    RELEASE_OPTIONS,
    shared_options.PACKAGES,
    examples=(
        "wheelyard yank acme-core 1.0 --reason 'loses data on 3.14'",
        "wheelyard yank acme-core --versions '<2' --reason 'no longer supported'",
        "wheelyard yank acme-core 1.0 --file acme_core-1.0-py3-none-any.whl",
    ),
    page="projects.md",
)
def yank_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """Mark VERSION of PROJECT, or one file of it, as not to be chosen any more."""
    _change_release(project_operations.yank, "yanked", "already yanked", **release)


@cli_command(
    "unyank",
    RELEASE_OPTIONS,
    shared_options.PACKAGES,
    examples=("wheelyard unyank acme-core 1.0", "wheelyard unyank acme-core --versions '>=1.5,<2'"),
    page="projects.md",
)
def unyank_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """Take the mark of `yank` back."""
    _change_release(project_operations.unyank, "no longer yanked", "not yanked", **release)


@cli_command(
    "pin",
    RELEASE_OPTIONS,
    shared_options.PACKAGES,
    examples=(
        "wheelyard pin acme-core 1.0 --reason 'runs at a customer'",
        "wheelyard pin acme-core --versions '==1.*'",
    ),
    page="retention.md",
)
def pin_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """Keep VERSION of PROJECT from rules of retention. It can still be deleted by hand."""
    _change_release(project_operations.pin, "pinned", "already pinned", **release)


@cli_command(
    "unpin",
    RELEASE_OPTIONS,
    shared_options.PACKAGES,
    examples=("wheelyard unpin acme-core 1.0", "wheelyard unpin acme-core --versions '<2'"),
    page="retention.md",
)
def unpin_command(**release: Any) -> None:  # noqa: ANN401 - click's
    """Take back what `pin` did."""
    _change_release(project_operations.unpin, "no longer pinned", "not pinned", **release)


def _change_release(
    action: Callable[
        [Call, NormalizedName, project_operations.ReleaseChange], project_operations.ChangedProject
    ],
    text_if_changed: str,
    text_if_unchanged: str,
    *,
    project: str,
    **release: Any,  # noqa: ANN401 - click's
) -> None:
    change = _parse_change(**release)
    changed = open_api().call(action, distribution_filename.parse_name(project), change)
    _print_files(changed, change, text_if_changed, text_if_unchanged)


def _parse_change(
    version: str | None, versions: str | None, file: str | None, reason: str
) -> project_operations.ReleaseChange:
    # without a default, as a command without a version must not be about all versions
    if (version is None) == (versions is None):
        raise click.UsageError("Give either VERSION or --versions.")
    version_text = ""
    set_text = ""
    if version is not None:
        version_text = str(distribution_filename.parse_version(version))
    if versions is not None:
        set_text = str(distribution_filename.parse_version_set(versions))
    return project_operations.ReleaseChange(version_text, set_text, file, reason)


def _print_files(
    changed: project_operations.ChangedProject,
    change: project_operations.ReleaseChange,
    text_if_changed: str,
    text_if_unchanged: str,
) -> None:
    """Print a line for each changed file, or one for the release if no file was changed."""
    lines = _file_lines(changed, text_if_changed)
    if not lines:
        lines = [_release_line(changed, change, text_if_unchanged)]
    for line in lines:
        click.echo(line)


def _file_lines(changed: project_operations.ChangedProject, text: str) -> list[str]:
    lines = []
    for file in changed.changed:
        release = f"{changed.name} {escaped(file.version)}"
        lines.append(f"{release}: {text}  {escaped(file.filename)}")
    return lines


def _release_line(
    changed: project_operations.ChangedProject,
    change: project_operations.ReleaseChange,
    text: str,
) -> str:
    return f"{changed.name} {change.version or change.versions}: {text}"


@cli_command(
    "delete",
    RELEASE_OPTIONS,
    Option(["--dry-run"], is_flag=True, help="Print what would be deleted, and delete nothing."),
    Option(
        ["--now"],
        is_flag=True,
        help=(
            "Remove the bytes of sha256:... now, also of files that are deleted already. "
            "Nothing is removed while another index lists or keeps them."
        ),
    ),
    Option(
        ["--everywhere"],
        is_flag=True,
        help="With --now, from all indexes of the store. For administrators of the server.",
    ),
    shared_options.yes_option(),
    shared_options.PACKAGES,
    examples=(
        "wheelyard delete acme-core 1.0 --reason 'does not start'",
        "wheelyard delete acme-core --versions '<2' --dry-run",
        "wheelyard delete acme-core sha256:... --now --reason 'contains a secret'",
    ),
    page="projects.md",
)
def delete_command(
    *,
    project: str,
    dry_run: bool,
    now: bool,
    everywhere: bool,
    **release: Any,  # noqa: ANN401 - click's
) -> int:
    """
    Remove VERSION of PROJECT, or one file of it. For 30 days `wheelyard restore` brings it back.

    Nobody can install it any more, and its filenames stay taken. The bytes are kept for the 30
    days, and served to nobody. If everybody can read the bucket, they go at once. The bytes of a
    file that another index of the store has stay.

    On a terminal it shows the files, and asks for the name of the project.

    For a secret in a package, administrators remove bytes for good: `--now` with the digest of a
    file, which `delete` prints, removes all files of PROJECT with these bytes.
    """
    if everywhere and not now:
        raise click.UsageError("--everywhere needs --now.")
    # a job must not wait for an answer that nobody gives
    if not (dry_run or shared_options.given_option("yes") or is_interactive()):
        raise click.UsageError("Nobody can be asked here. Give --yes to delete, or --dry-run.")
    if now:
        digest = _parse_digest(project, **release)
        removal = project_operations.DigestRemoval(digest, everywhere, release["reason"])
        api = open_api()
        name = distribution_filename.parse_name(project)
        delete_chosen = partial(_remove_bytes, api, name, removal)
    else:
        # a digest that was taken for a version would find nothing, and the secret would stay
        if (release["version"] or "").startswith(DIGEST):
            raise click.UsageError("A digest needs --now, which removes its bytes for good.")
        change = _parse_change(**release)
        api = open_api()
        name = distribution_filename.parse_name(project)
        delete_chosen = partial(_delete_release, api, name, change)
    return _delete_once_agreed(delete_chosen, name, dry_run=dry_run)


def _delete_once_agreed(
    delete: "Callable[..., _Outcome]", name: NormalizedName, *, dry_run: bool
) -> int:
    """Delete, with --yes at once, else after a question, and return the exit status."""
    if dry_run or not shared_options.given_option("yes"):
        # tried first for a person, too: the question names the files, and what the deletion breaks
        trial = delete(dry_run=True)
        is_question = not dry_run and trial.has_changed
        _print_lines(trial.lines, err=is_question)
        _print_warnings(trial)
        if not is_question:
            return 0
        if not output.confirm_name(name, trial.consequence):
            click.echo("wheelyard: nothing was deleted", err=True)
            return 1
        # the person has agreed to the deletion of these files in these indexes alone
        if delete(dry_run=True).lines != trial.lines:
            message = "Nothing was deleted: meanwhile the files have changed. Try again."
            raise Conflict(message)
    outcome = delete(dry_run=False)
    _print_lines(outcome.lines)

    # a person who was asked has seen the warnings before the question
    if shared_options.given_option("yes"):
        _print_warnings(outcome)
    if outcome.has_changed:
        output.print_message(logging.INFO, outcome.fate)
    return 0


def _parse_digest(
    project: str, version: str | None, versions: str | None, file: str | None, **_: str
) -> distribution_filename.Sha256:
    text = version or ""
    if not text.startswith(DIGEST) or versions is not None or file is not None:
        raise click.UsageError(
            "--now takes the digest of a file, and nothing else: "
            f"{command_line('delete', project, f'{DIGEST}...', '--now', is_question=True)}. "
            f"{command_line('list', project, '--json')} has the digests, also of files that are "
            "deleted already."
        )
    return distribution_filename.parse_sha256(text.removeprefix(DIGEST))


def _print_warnings(outcome: "_Outcome") -> None:
    for warning in outcome.warnings:
        output.warn(warning)


def _print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(line, err=err)


class _Outcome(Struct, frozen=True):
    """The outcome of a deletion, or of its dry run, in words."""

    lines: Sequence[str]
    """A line for each deleted file, or one that says that there is none."""
    has_changed: bool
    """Whether any file was deleted."""
    consequence: str
    """What the deletion leads to, as a sentence before the question."""
    fate: str
    """What has become of the bytes."""
    warnings: Sequence[str] = ()
    """Sentences about other releases that lack a requirement after the deletion."""


def _delete_release(
    api: Api, name: NormalizedName, change: project_operations.ReleaseChange, *, dry_run: bool
) -> _Outcome:
    """Delete releases, whose files can be restored for a while."""
    deleted = api.call(project_operations.delete, name, replace(change, dry_run=dry_run))
    text = "would be deleted" if dry_run else "deleted"
    lines = []
    for line, file in zip(_file_lines(deleted, text), deleted.changed, strict=True):
        # with the digest, by which `delete --now` removes the bytes for good
        lines.append(f"{line}  {DIGEST}{escaped(file.sha256)}")
    consequence = (
        "The bytes are lost for ever, unless another index has the files, and these filenames can "
        "never be used again."
    )
    if isinstance(deleted.keep_until, datetime):
        until = f"{deleted.keep_until:%Y-%m-%d}"
        consequence = f"They can be restored until {until}, and their filenames stay taken."
    return _Outcome(
        lines=lines or [_release_line(deleted, change, "already deleted")],
        has_changed=bool(deleted.changed),
        consequence=consequence,
        fate=_fate_of_bytes(deleted, change),
        warnings=deleted.warnings,
    )


def _fate_of_bytes(
    deleted: project_operations.ChangedProject, change: project_operations.ReleaseChange
) -> str:
    """Return what has become of the bytes of deleted files, in words."""
    digests = {file.sha256 for file in deleted.changed}
    # if the files have several digests, the person has to choose one
    digest = digests.pop() if len(digests) == 1 else "..."
    removal = ("delete", deleted.name, f"{DIGEST}{digest}", "--now")
    if isinstance(deleted.keep_until, datetime):
        restore_line = command_line("restore", *_words_for_same_release(deleted, change))
        return (
            f"the bytes are kept until {deleted.keep_until:%Y-%m-%d}: {restore_line} brings the "
            f"files back, and {command_line(*removal)} removes the bytes now, unless another index "
            "has the files"
        )
    return (
        "nothing can be restored: everybody can read the bucket, or the server is an older one. "
        "The bytes were removed, unless another index has the files, which "
        f"{command_line(*removal, '--dry-run')} says"
    )


def _words_for_same_release(
    changed: project_operations.ChangedProject, change: project_operations.ReleaseChange
) -> list[str]:
    """Return the words that name the same releases for another command."""
    words: list[str] = [changed.name]
    if change.version:
        words.append(change.version)
    else:
        words += ["--versions", change.versions]
    if isinstance(change.file, str):
        words += ["--file", change.file]
    return words


def _remove_bytes(
    api: Api, name: NormalizedName, removal: project_operations.DigestRemoval, *, dry_run: bool
) -> _Outcome:
    """Remove the bytes with a digest for good."""
    removed = api.call(project_operations.delete_now, name, replace(removal, dry_run=dry_run))
    line_begin = f"{name}: would be removed" if dry_run else f"{name}: removed"
    lines = []
    for file in removed.files:
        index = escaped(read_index_name(file.index))
        lines.append(f"{line_begin} from {index}  {escaped(file.filename)}")
    consequence = "The bytes are lost for ever."
    if lines:
        consequence += " These filenames can never be used again."
    elif removed.objects:
        lines.append(f"{line_begin}  {counted(removed.objects, 'object')} that no index has")
    return _Outcome(
        lines=lines or [f"{name}: already removed"],
        has_changed=bool(lines),
        consequence=consequence,
        fate=(
            "the bytes are gone from the store; purge caches in front of it, and look at copies, "
            "exports and backups"
        ),
    )


@cli_command(
    "restore",
    RELEASE_OPTIONS,
    Option(["--dry-run"], is_flag=True, help="Print what would be restored, and restore nothing."),
    shared_options.PACKAGES,
    examples=(
        "wheelyard restore acme-core",
        "wheelyard restore acme-core 1.0 --reason 'was not the broken one'",
        "wheelyard restore acme-core --versions '<2' --dry-run",
    ),
    page="projects.md",
)
def restore_command(*, project: str, dry_run: bool, **release: Any) -> int:  # noqa: ANN401 - click's
    """
    Restore VERSION of PROJECT, or one file of it, that was deleted in the last 30 days.

    The files come back as they were, and pinned if a rule of retention has deleted them. Without a
    version it prints what can be restored.
    """
    api = open_api()
    name = distribution_filename.parse_name(project)
    if release["version"] is None and release["versions"] is None and release["file"] is None:
        trash = api.call(project_operations.get_project, name).trash
        # with the digests, which `delete --now` takes for bytes that must go for good
        for file in trash:
            digest = f"{DIGEST}{file.sha256}" if file.sha256 else ""
            until = f"{file.keep_until:%Y-%m-%d}"
            columns = (file.version, file.filename, str(file.size), until, digest)
            click.echo("\t".join(map(escaped, columns)))
        if not trash:
            output.print_message(logging.INFO, f"{name} has no deleted file that can be restored")
        return 0
    change = replace(_parse_change(**release), dry_run=dry_run)
    restored = api.call(project_operations.restore, name, change)
    text = "would be restored" if dry_run else "restored"
    _print_files(restored, change, text, "nothing of it is deleted")

    # pinned, as the rule of retention would delete the files again at its next run
    if any(file.pinned for file in restored.changed):
        unpin_line = command_line("unpin", *_words_for_same_release(restored, change))
        message = f"pinned, so that no rule of retention deletes it; {unpin_line} undoes that"
        output.print_message(logging.INFO, message)
    return 0
