"""`wheelyard list`, `downloads`, `status` and `names`: commands about projects."""

import logging
from collections.abc import Iterator
from typing import Final, get_args

import click
from click import Argument, Option
from msgspec.structs import asdict

from wheelyard.api import download_operations, project_operations
from wheelyard.api.operation import other_indexes_in_words
from wheelyard.cli import output, shared_options
from wheelyard.cli.command import CliGroup, cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.history import token_names
from wheelyard.cli.program import command_line
from wheelyard.cli.standard_streams import is_interactive
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.downloads import KEPT_DAYS, SHOWN_DAYS
from wheelyard.model.grants import with_name
from wheelyard.model.project import Status
from wheelyard.model.project_json import FileJson, ProjectJson
from wheelyard.operations.names import NameState, PrivateName

FILE_COLUMNS: Final = ("File", "Bytes", "In this index since (UTC)", "By")
STATES_WITHOUT_FILES: Final = {
    NameState.DELETED: "all files deleted",
    NameState.RESERVED: "reserved",
    NameState.CLAIMED: "nothing published",
    NameState.UNREADABLE: "cannot be read",
}
"""Why names without files are private, in words."""


@cli_command(
    "list",
    Argument(["project"], required=False),
    shared_options.JSON,
    shared_options.PACKAGES,
    examples=(
        "wheelyard list",
        "wheelyard list acme-core",
        "wheelyard list acme-core --server https://packages.acme.dev",
    ),
    page="projects.md",
)
def list_command(project: str | None) -> None:
    """List the projects, or the files of PROJECT."""
    api = open_api()
    if project is None:
        answer = api.call(project_operations.list_projects, project_operations.ProjectsQuery())
        projects = answer.projects
        output.print_result({"projects": projects}, (project.name for project in projects))
        # without this message, a store with packages in other indexes alone would look empty
        if answer.other_indexes:
            command = command_line("list", "--index", answer.other_indexes[0])
            other_indexes = other_indexes_in_words(answer.other_indexes)
            output.print_message(
                logging.INFO, f"main has no project; {other_indexes}: {command} lists one"
            )
    else:
        shown_project = api.call(project_operations.get_project, parse_name(project))
        output.print_result(
            _project_json(shown_project), _file_lines(shown_project, api), FILE_COLUMNS
        )


def _project_json(project: project_operations.ProjectAnswer) -> ProjectJson:
    """Return a project as `--json` prints it, in which the mark of a file is its reason or null."""
    files = []
    for file in project.files:
        fields = asdict(file)
        fields["yanked"] = _reason_of_mark(file.yanked)
        fields["pinned"] = _reason_of_mark(file.pinned)
        files.append(FileJson(**fields))
    return ProjectJson(
        name=project.name,
        revision=project.revision,
        status=project.status.status,
        reason=project.status.reason,
        summary=project.summary,
        files=tuple(files),
        deleted_filenames=project.deleted,
        trash=project.trash,
        commit=project.commit,
    )


def _reason_of_mark(mark: bool | str) -> str | None:  # noqa: FBT001 - as programs get it
    """Return the reason of a mark, empty for a mark without a reason, or None without a mark."""
    if mark is True:
        return ""
    return mark or None


def _file_lines(project: project_operations.ProjectAnswer, api: Api) -> Iterator[tuple[str, ...]]:
    """Yield a line for each file, and say on standard error if the project is not active."""
    status = project.status.status
    if status is not Status.ACTIVE:
        sentence = f"{project.name} is {status.value}"
        if project.status.reason:
            sentence += f": {project.status.reason}"
        # not on standard output, where a script expects files alone
        click.echo(f"wheelyard: {escaped(sentence)}", err=True)

    # older versions did not store the names of tokens
    principals_without_name = {
        file.uploaded_by for file in project.files if not file.uploaded_by_name
    }
    names_by_principal = token_names(api, principals_without_name)
    for file in project.files:
        name = file.uploaded_by_name or names_by_principal.get(file.uploaded_by, "")
        columns = [
            file.filename,
            str(file.size),
            f"{file.uploaded_at:%Y-%m-%d %H:%M}",
            with_name(file.uploaded_by, name),
        ]
        reason = _reason_of_mark(file.yanked)
        if reason:
            columns.append(f"yanked: {reason}")
        elif reason is not None:
            columns.append("yanked")
        yield tuple(columns)


@cli_command(
    "downloads",
    shared_options.PROJECT,
    Option(
        ["--days"],
        type=click.IntRange(1, KEPT_DAYS),
        default=SHOWN_DAYS,
        help="In the last so many days, of which today is one; at most 400.  [default: 30]",
    ),
    shared_options.JSON,
    shared_options.PACKAGES,
    examples=("wheelyard downloads acme-core", "wheelyard downloads acme-core --days 90 --json"),
    page="downloads.md",
)
def downloads_command(project: str, days: int) -> None:
    """Print how often each version of PROJECT was downloaded, and when last."""
    counts = open_api().call(
        download_operations.show_downloads,
        parse_name(project),
        download_operations.DownloadsQuery(days),
    )
    output.print_result(counts, _download_lines(counts))


def _download_lines(counts: download_operations.DownloadsAnswer) -> Iterator[tuple[str, ...]]:
    last = f"last {counts.last}" if counts.last else ""
    yield f"all since {counts.since}", counted(counts.downloads, "download"), last
    for version in counts.by_version:
        number = counted(version.downloads, "download")
        # beyond a limit in memory, downloads are counted by project alone, without a version
        yield version.version or "not counted by version", number, f"last {version.last}"


@cli_command(
    "status",
    shared_options.PROJECT,
    Argument(["status"], type=click.Choice([status.value for status in Status])),
    Option(["--reason"], default="", help="Shown on the project's pages."),
    shared_options.PACKAGES,
    examples=(
        "wheelyard status acme-core archived",
        "wheelyard status acme-core deprecated --reason 'use acme-kernel'",
    ),
    page="projects.md",
)
def status_command(project: str, status: str, reason: str) -> None:
    """Set the STATUS of PROJECT: archived takes no uploads, quarantined serves no files."""
    change = project_operations.StatusChange(Status(status), reason)
    changed = open_api().call(project_operations.set_status, parse_name(project), change)
    click.echo(f"{changed.name}: {status}")


@click.group("names", cls=CliGroup, page="upstream.md")
def names_command() -> None:
    """
    List, reserve and release private names.

    A private name is never looked up at an upstream index. Every name under which something was
    published is private, also after all of its files are deleted.
    """


@names_command.subcommand(
    "list",
    shared_options.SEARCH,
    Option(
        ["--state"],
        type=click.Choice(get_args(project_operations.NameSelection)),
        help="Why they are private; unpublished is all but files.",
    ),
    shared_options.JSON,
    shared_options.PACKAGES,
    examples=(
        "wheelyard names list",
        "wheelyard names list --state unpublished",
        "wheelyard names list --json",
    ),
    page="upstream.md",
)
def list_names(search: str, state: project_operations.NameSelection | None) -> None:
    """List the private names, and why each of them is private."""
    query = project_operations.NamesQuery(search=search, state=state)
    listed = open_api().call(project_operations.list_names, query)
    output.print_result(listed, map(_name_columns, listed.names))


def _name_columns(private: PrivateName) -> tuple[str, ...]:
    """Return the columns of a private name: the name, and why it is private."""
    return (private.name, *_state_columns(private))


def _state_columns(private: PrivateName) -> Iterator[str]:
    if private.state is NameState.FILES:
        yield counted(private.files, "file")
        return
    # of a name without files, people want to know who has taken it, when and why
    yield STATES_WITHOUT_FILES[private.state]
    if private.at is not None:
        yield f"{private.at:%Y-%m-%d %H:%M} {private.by}"
    if private.reason:
        yield private.reason


@names_command.subcommand(
    "reserve",
    shared_options.NAME,
    shared_options.REASON,
    shared_options.PACKAGES,
    examples=(
        "wheelyard names reserve acme-next",
        "wheelyard names reserve acme-next --reason 'starts in spring'",
    ),
    page="upstream.md",
)
def reserve(name: str, reason: str) -> None:
    """Make NAME private before anything is published under it."""
    reserved = open_api().call(
        project_operations.reserve_name, parse_name(name), project_operations.NameChange(reason)
    )
    outcome = "reserved" if reserved.is_new else "private already"
    click.echo(f"{reserved.name}: {outcome}")


@names_command.subcommand(
    "release",
    shared_options.NAME,
    shared_options.REASON,
    shared_options.yes_option("--yes-i-know"),
    shared_options.PACKAGES,
    examples=(
        "wheelyard names release acme-next",
        "wheelyard names release acme-next --reason 'never started' --yes",
    ),
    page="upstream.md",
)
def release(*, name: str, reason: str) -> int:
    """
    Give NAME up, which must have no files: from then on an upstream index may have it.

    Clients that ask for NAME then get the public package of that name, if there is one.
    """
    is_agreed = shared_options.given_option("yes")
    # asked, as then the owner of the name at an upstream index decides what clients install
    if not (is_agreed or is_interactive()):
        raise click.UsageError("Nobody can be asked here. Give --yes to release the name.")
    api = open_api()
    parsed_name = parse_name(name)
    consequence = f"Clients may then get a public package named {parsed_name}."
    if not is_agreed and not output.confirm_name(parsed_name, consequence):
        click.echo("wheelyard: nothing was released", err=True)
        return 1
    api.call(project_operations.release_name, parsed_name, project_operations.NameChange(reason))
    click.echo(f"{parsed_name}: released")
    return 0
