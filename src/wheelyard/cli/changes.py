"""`wheelyard yank`, `unyank`, `delete` and `status`: change a release or a project."""

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar, cast

import click
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.api import projects
from wheelyard.api.operation import Call
from wheelyard.api.projects import ChangedProject, ReleaseChange, StatusChange
from wheelyard.cli.api import managed_options, open_api
from wheelyard.cli.help_text import examples
from wheelyard.cli.output import confirm_name, is_interactive
from wheelyard.errors import Conflict
from wheelyard.model.distribution_filename import parse_name, parse_version, parse_version_set
from wheelyard.model.project import Status
from wheelyard.model.text import escaped

F = TypeVar("F", bound=Callable[..., object])

PAGE: Final = "projects.md"


def release_options(command: F) -> F:
    """Add the releases to choose, `--file` and `--reason` to a command, which gets a `change`."""

    @wraps(command)
    def with_change(
        *,
        version: str | None,
        versions: str | None,
        file: str | None,
        reason: str,
        **others: object,
    ) -> object:
        if (version is None) == (versions is None):
            raise click.UsageError("Give either VERSION or --versions.")
        one = "" if version is None else str(parse_version(version))
        several = "" if versions is None else str(parse_version_set(versions))
        return command(change=ReleaseChange(one, several, file, reason), **others)

    for option in (
        click.option("--reason", default="", help="Why; it is kept in the journal."),
        click.option("--file", metavar="NAME", help="Only this file of the release."),
        click.option(
            "--versions",
            metavar="SET",
            help="Every release of a set, by PEP 440: '<2', '==1.*', '>=1.0,!=1.5'. Pre-releases "
            "count, too: '<2' has 1.9rc1, and not 2.0rc1.",
        ),
        click.argument("version", required=False),
        click.argument("project"),
    ):
        with_change = option(with_change)
    return cast("F", with_change)


def _yank_command(
    action: Callable[[Call, NormalizedName, ReleaseChange], ChangedProject],
    what: str,
    done: str,
    undone: str,
    *lines: str,
) -> click.Command:
    @examples(PAGE, *lines)
    @click.command(action.__name__, help=what)
    @release_options
    @managed_options
    def command(project: str, change: ReleaseChange) -> None:
        changed = open_api().call(action, parse_name(project), change)
        _print_files(changed, change, done, undone)

    return command


yank = _yank_command(
    projects.yank,
    "Mark VERSION of PROJECT, or one file of it, as not to be chosen any more.",
    "yanked",
    "already yanked",
    "wheelyard yank acme-core 1.0 --reason 'loses data on 3.14'",
    "wheelyard yank acme-core --versions '<2' --reason 'no longer supported'",
    "wheelyard yank acme-core 1.0 --file acme_core-1.0-py3-none-any.whl",
)
unyank = _yank_command(
    projects.unyank,
    "Take the mark of `yank` back.",
    "no longer yanked",
    "not yanked",
    "wheelyard unyank acme-core 1.0",
    "wheelyard unyank acme-core --versions '>=1.5,<2'",
)


@examples(
    PAGE,
    "wheelyard delete acme-core 1.0 --reason 'contains a secret'",
    "wheelyard delete acme-core --versions '<2' --dry-run",
    "wheelyard delete acme-core --versions '<2' --yes",
)
@click.command("delete")
@release_options
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@managed_options
def delete(*, project: str, change: ReleaseChange, dry_run: bool, yes: bool) -> int | None:
    """
    Remove VERSION of PROJECT, or one file of it, for good: no filename ever comes back.

    On a terminal it shows the files, and asks for the name of the project.
    """
    if not (dry_run or yes or is_interactive()):
        raise click.UsageError("Nobody can be asked here. Give --yes to delete, or --dry-run.")
    api, name = open_api(), parse_name(project)
    if dry_run or not yes:
        trial = replace(change, dry_run=True)
        found = api.call(projects.delete, name, trial)
        is_question = not dry_run and bool(found.changed)
        _print_files(found, change, "would be deleted", "already deleted", err=is_question)
        if not is_question:
            return 0
        if not confirm_name(name, "These filenames can never be used again."):
            click.echo("wheelyard: nothing was deleted", err=True)
            return 1
        if api.call(projects.delete, name, trial).changed != found.changed:
            message = "Nothing was deleted: meanwhile the files have changed. Try again."
            raise Conflict(message)
    _print_files(api.call(projects.delete, name, change), change, "deleted", "already deleted")
    return 0


def _print_files(
    project: ChangedProject, change: ReleaseChange, done: str, undone: str, *, err: bool = False
) -> None:
    for file in project.changed:
        what = f"{escaped(file.version)}: {done}  {escaped(file.filename)}"
        click.echo(f"{project.name} {what}", err=err)
    if not project.changed:
        click.echo(f"{project.name} {change.version or change.versions}: {undone}")


@examples(
    PAGE,
    "wheelyard status acme-core archived",
    "wheelyard status acme-core deprecated --reason 'use acme-kernel'",
)
@click.command("status")
@click.argument("project")
@click.argument("status", type=click.Choice([status.value for status in Status]))
@click.option("--reason", default="", help="Shown on the project's pages.")
@managed_options
def status(project: str, status: str, reason: str) -> None:
    """Set the STATUS of PROJECT: archived takes no uploads, quarantined serves no files."""
    change = StatusChange(Status(status), reason)
    changed = open_api().call(projects.set_status, parse_name(project), change)
    click.echo(f"{changed.name}: {status}")
