"""`wheelyard list`, `status`, `names` and `journal`: commands about projects."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final, get_args

import click
from click import Argument, Option
from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import asdict
from packaging.utils import NormalizedName

from wheelyard.api import project_operations
from wheelyard.api.access_operations import access_history
from wheelyard.api.download_operations import (
    DownloadsAnswer,
    DownloadsQuery,
    show_downloads,
)
from wheelyard.api.operation import Call, naming_alternatives, there_are
from wheelyard.api.project_operations import (
    After,
    HistoryQuery,
    NameChange,
    NameSelection,
    NamesQuery,
    ProjectAnswer,
    ProjectsQuery,
    StatusChange,
)
from wheelyard.api.public_package_operations import decision_history, list_decisions
from wheelyard.api.table import TABLE_OPERATIONS, LocalApi
from wheelyard.cli.options import PACKAGES, Api, open_api, token_names
from wheelyard.cli.output import (
    JSON,
    NAME,
    PROJECT,
    REASON,
    SEARCH,
    CliGroup,
    Progress,
    cli_command,
    confirm_name,
    given_option,
    is_interactive,
    is_output_lost,
    parse_since,
    print_message,
    print_result,
    shown_progress,
    warn,
    yes_option,
)
from wheelyard.cli.program import chosen_index, command_line
from wheelyard.errors import (
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.downloads import KEPT_DAYS, SHOWN_DAYS
from wheelyard.model.grants import with_name
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.model.project_json import (
    FileJson,
    JournalEntry,
    OtherEvent,
    ProjectJson,
    require_entry_kind,
)
from wheelyard.model.public_packages import Decision
from wheelyard.operations.journal_reader import BEGINNING, JournalPart, JournalReader, OtherJournal
from wheelyard.operations.names import NameState, PrivateName
from wheelyard.wiring.stores import system_runtime


@cli_command(
    "list",
    Argument(["project"], required=False),
    JSON,
    *PACKAGES,
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
        answer = api.call(project_operations.list_projects, ProjectsQuery())
        listed = answer.projects
        print_result({"projects": listed}, (project.name for project in listed))
        if answer.other_indexes:
            command = command_line("list", "--index", answer.other_indexes[0])
            others = there_are(answer.other_indexes)
            print_message(logging.INFO, f"main has no project; {others}: {command} lists one")
    else:
        shown = api.call(project_operations.get_project, parse_name(project))
        print_result(_described(shown), _file_lines(shown, api), FILE_COLUMNS)


def _described(project: ProjectAnswer) -> ProjectJson:
    files = (
        FileJson(**{**asdict(file), "yanked": _reason(file.yanked), "pinned": _reason(file.pinned)})
        for file in project.files
    )
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


def _reason(mark: bool | str) -> str | None:  # noqa: FBT001 - as programs get it
    """Return the reason of a mark, which may be empty, or None if there is no mark."""
    return "" if mark is True else mark or None


FILE_COLUMNS: Final = ("File", "Bytes", "In this index since (UTC)", "By")


def _file_lines(project: ProjectAnswer, api: Api) -> Iterator[tuple[str, ...]]:
    """Yield a line for each file, and say on standard error if the project is not active."""
    status, reason = project.status.status, project.status.reason
    if status is not Status.ACTIVE:
        what = f"{project.name} is {status.value}{f': {reason}' if reason else ''}"
        click.echo(f"wheelyard: {escaped(what)}", err=True)
    # older versions did not store the names
    unnamed = {file.uploaded_by for file in project.files if not file.uploaded_by_name}
    names = token_names(api, unnamed)
    for file in project.files:
        name = file.uploaded_by_name or names.get(file.uploaded_by, "")
        when, uploader = f"{file.uploaded_at:%Y-%m-%d %H:%M}", with_name(file.uploaded_by, name)
        why = _reason(file.yanked)
        yanked = () if why is None else (f"yanked: {why}" if why else "yanked",)
        yield (file.filename, str(file.size), when, uploader, *yanked)


@cli_command(
    "downloads",
    PROJECT,
    Option(
        ["--days"],
        type=click.IntRange(1, KEPT_DAYS),
        default=SHOWN_DAYS,
        help="In the last so many days, of which today is one; at most 400.  [default: 30]",
    ),
    JSON,
    *PACKAGES,
    examples=("wheelyard downloads acme-core", "wheelyard downloads acme-core --days 90 --json"),
    page="downloads.md",
)
def downloads_command(project: str, days: int) -> None:
    """Print how often each version of PROJECT was downloaded, and when last."""
    counts = open_api().call(show_downloads, parse_name(project), DownloadsQuery(days))
    print_result(counts, _download_lines(counts))


def _download_lines(counts: DownloadsAnswer) -> Iterator[tuple[str, ...]]:
    last = f"last {counts.last}" if counts.last else ""
    yield f"all since {counts.since}", counted(counts.downloads, "download"), last
    for version in counts.by_version:
        number = counted(version.downloads, "download")
        yield version.version or "not counted by version", number, f"last {version.last}"


@cli_command(
    "status",
    PROJECT,
    Argument(["status"], type=click.Choice([status.value for status in Status])),
    Option(["--reason"], default="", help="Shown on the project's pages."),
    *PACKAGES,
    examples=(
        "wheelyard status acme-core archived",
        "wheelyard status acme-core deprecated --reason 'use acme-kernel'",
    ),
    page="projects.md",
)
def status_command(project: str, status: str, reason: str) -> None:
    """Set the STATUS of PROJECT: archived takes no uploads, quarantined serves no files."""
    change = StatusChange(Status(status), reason)
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
    SEARCH,
    Option(
        ["--state"],
        type=click.Choice(get_args(NameSelection)),
        help="Why they are private; unpublished is all but files.",
    ),
    JSON,
    *PACKAGES,
    examples=(
        "wheelyard names list",
        "wheelyard names list --state unpublished",
        "wheelyard names list --json",
    ),
    page="upstream.md",
)
def list_names(search: str, state: NameSelection | None) -> None:
    """List the private names, and why each of them is private."""
    query = NamesQuery(search=search, state=state)
    listed = open_api().call(project_operations.list_names, query)
    print_result(listed, ((name.name, *_facts(name)) for name in listed.names))


def _facts(private: PrivateName) -> Iterator[str]:
    if private.state is NameState.FILES:
        yield counted(private.files, "file")
        return
    yield {
        NameState.DELETED: "all files deleted",
        NameState.RESERVED: "reserved",
        NameState.CLAIMED: "nothing published",
        NameState.UNREADABLE: "cannot be read",
    }[private.state]
    if private.at is not None:
        yield f"{private.at:%Y-%m-%d %H:%M} {private.by}"
    if private.reason:
        yield private.reason


@names_command.subcommand(
    "reserve",
    NAME,
    REASON,
    *PACKAGES,
    examples=(
        "wheelyard names reserve acme-next",
        "wheelyard names reserve acme-next --reason 'starts in spring'",
    ),
    page="upstream.md",
)
def reserve(name: str, reason: str) -> None:
    """Make NAME private before anything is published under it."""
    reserved = open_api().call(
        project_operations.reserve_name, parse_name(name), NameChange(reason)
    )
    click.echo(f"{reserved.name}: {'reserved' if reserved.is_new else 'private already'}")


@names_command.subcommand(
    "release",
    NAME,
    REASON,
    yes_option("--yes-i-know"),
    *PACKAGES,
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
    is_agreed = given_option("yes")
    if not (is_agreed or is_interactive()):
        raise click.UsageError("Nobody can be asked here. Give --yes to release the name.")
    api, parsed = open_api(), parse_name(name)
    consequence = f"Clients may then get a public package named {parsed}."
    if not is_agreed and not confirm_name(parsed, consequence):
        click.echo("wheelyard: nothing was released", err=True)
        return 1
    api.call(project_operations.release_name, parsed, NameChange(reason))
    click.echo(f"{parsed}: released")
    return 0


LOCAL_PAUSE_SECONDS: Final = 1.0
REMOTE_PAUSE_SECONDS: Final = 10.0
"""The pause of `--follow` between two looks. A look at a bucket costs money."""


@cli_command(
    "journal",
    Argument(["project"], required=False),
    Option(["--since"], metavar="TIME", help="2026-01-31, 2026-01-31T12:00:00Z (UTC), 30m, 7d."),
    Option(["--until"], metavar="TIME", help="The same, not included."),
    Option(
        ["--by"],
        metavar="WHO",
        help="A principal with their tokens, a token's id or name, an e-mail.",
    ),
    Option(
        ["--what"],
        metavar="WORD",
        help="uploaded, imported, promoted, yanked, deleted, restored, status, blocked ...",
    ),
    Option(["--json", "as_json"], is_flag=True, help="For programs: one object a line."),
    Option(["--follow"], is_flag=True, help="Go on with new entries until Ctrl-C."),
    *PACKAGES,
    examples=(
        "wheelyard journal acme-core",
        "wheelyard journal --since 7d --by ci",
        "wheelyard journal --follow --json",
    ),
    page="projects.md",
)
def journal_command(
    project: str | None, *, as_json: bool, follow: bool, **filters: str | None
) -> int:
    """
    Print who did what to PROJECT, or to all projects, when, and with which credential.

    Decisions about public projects are among the entries, and without PROJECT the changes of
    grants, groups, publishers and indexes.

    Entries come in order of time, oldest first. The status is 1 if an entry could not be read.
    """
    name = None if project is None else parse_name(project)
    if filters["by"] == "":
        raise Invalid("--by is empty. Name a principal, a token or an e-mail, or leave it out.")
    if filters["what"]:
        require_entry_kind(filters["what"])
    api, now = open_api(), system_runtime().now()
    since, until = filters["since"], filters["until"]
    reader = JournalReader(
        api.journals(name),
        since=BEGINNING if since is None else max(parse_since(since, now), BEGINNING),
        by=filters["by"] or "",
        what=filters["what"] or "",
        until=None if until is None else parse_since(until, now),
        others=_other_journals(api, name),
    )
    if follow:
        return _follow(reader, api, as_json=as_json)
    with _naming_alternatives(api):
        part = _read_with_progress(reader)
    _print(part, as_json=as_json)
    if not part.entries and not part.problems:
        print_message(logging.INFO, f"there is no such entry{_other_indexes(api)}")
    return 1 if part.problems else 0


def _naming_alternatives(api: Api) -> AbstractContextManager[None]:
    """Return what has an error name the other indexes of a store; a server has done that."""
    if isinstance(api, LocalApi):
        return naming_alternatives(api.index)
    return nullcontext()


def _other_indexes(api: Api) -> str:
    """Return in words which indexes have journals of their own, if one of them may be meant."""
    if given_option("index"):
        return ""
    if isinstance(api, LocalApi):
        indexes = sorted(api.index.server.definitions.names())
    else:
        # a server names them if main has no project
        answer = api.call(project_operations.list_projects, ProjectsQuery())
        indexes = [*(answer.other_indexes or ())]
    names = ", ".join(indexes)
    return f" in the index main; --index chooses another: {names}" if names else ""


class _DecisionEvents(Struct, frozen=True):
    """The decisions about public projects, or those about the project `only`."""

    api: Api
    only: NormalizedName | None

    def events_after(self, number: int) -> Iterator[tuple[int, Decision]]:
        # NotFound: another index than main has none
        with suppress(Forbidden, Unauthenticated, NotFound):
            # on a bucket each entry is a request, and most projects have none
            if self.only is not None:
                in_force = self.api.call(list_decisions).decisions
                if not any(decision.project == self.only for decision in in_force):
                    return
            for commit in self.api.call(decision_history, After(number)).commits:
                for decision in commit.events:
                    yield commit.number, decision


class _StoredEvents(Struct, frozen=True):
    """The changes of another document of the store, which only administrators may see."""

    api: Api
    history: Callable[[Call, HistoryQuery], Any]

    def events_after(self, number: int) -> Iterator[tuple[int, OtherEvent]]:
        # NotFound: an older server has no such document, and another index than main has none
        with suppress(Forbidden, Unauthenticated, NotFound):
            for commit in self.api.call(self.history, HistoryQuery(number)).commits:
                for event in commit.events:
                    yield commit.number, event


def _other_journals(api: Api, only: NormalizedName | None) -> tuple[OtherJournal, ...]:
    """
    Return the journals of decisions and rights, which are empty for whom a server refuses.

    They are those of the whole store, so that only main has them.
    """
    if chosen_index() != MAIN:
        return ()
    decisions = _DecisionEvents(api, only)
    about_projects = OtherJournal("the decisions about public projects", decisions, only)
    if only is not None:
        return (about_projects,)
    of_store = (
        ("the changes of grants", access_history),
        *(
            (f"the changes of {operations.kind.title}", operations.history)
            for operations in TABLE_OPERATIONS
        ),
    )
    others = (OtherJournal(what, _StoredEvents(api, history)) for what, history in of_store)
    return (about_projects, *others)


def _read_with_progress(reader: JournalReader) -> JournalPart:
    with shown_progress("journal") as progress:
        return reader.read(progress.advance_of)


def _print(part: JournalPart, printed: Collection[str] = (), *, as_json: bool) -> None:
    """Print the entries of a part, and those of its problems that were not `printed` before."""
    for entry in part.entries:
        click.echo(encode(entry) if as_json else _line(entry))
    for problem in dict.fromkeys(part.problems):
        if problem not in printed:
            warn(problem)


def _follow(reader: JournalReader, api: Api, *, as_json: bool) -> int:
    """Print entries as they come, until nobody reads the output any more, and return the status."""
    pause = LOCAL_PAUSE_SECONDS if api.is_local else REMOTE_PAUSE_SECONDS
    # the first look may be at thousands of projects, later ones at those that have changed
    read, printed = _read_with_progress, list[str]()
    is_away, status = False, 0
    while not is_output_lost():
        try:
            part = read(reader)
        except Unavailable as fault:
            if not is_away:
                warn(f"{fault.message} The journal is read again as soon as that works.")
            is_away = True
        else:
            if is_away:
                print_message(logging.INFO, "the journal can be read again")
            _print(part, printed, as_json=as_json)
            is_away, printed = False, part.problems
            status = 1 if part.problems else status
            read = _read_quietly
        system_runtime().pause(pause)
    return status


def _read_quietly(reader: JournalReader) -> JournalPart:
    return reader.read(Progress().advance_of)


def _line(entry: JournalEntry) -> str:
    detail = "at once" if entry.at_once else entry.status or entry.other_index
    what = f"{entry.done} {detail}".rstrip()
    owner = f" of {entry.owner}" if entry.owner else ""
    columns = (
        entry.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        entry.project or "-",
        what,
        ", ".join(entry.files),
        f"{with_name(entry.by, entry.by_name)}{owner}",
        entry.credential,
        f"uploaded by {entry.uploaded_by}" if entry.uploaded_by else entry.reason,
    )
    return "\t".join(map(escaped, columns)).rstrip("\t")
