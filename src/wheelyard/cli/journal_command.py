"""`wheelyard journal`: who did what, when, and with which credential."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import Any, Final

import click
from click import Argument, Option
from msgspec import Struct
from msgspec.json import encode
from packaging.utils import NormalizedName

from wheelyard.api import project_operations
from wheelyard.api.access_operations import access_history
from wheelyard.api.local_api import LocalApi
from wheelyard.api.operation import Call, naming_alternatives
from wheelyard.api.public_package_operations import decision_history, list_decisions
from wheelyard.api.table import TABLE_OPERATIONS
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.output import print_message, warn
from wheelyard.cli.program import chosen_index
from wheelyard.cli.progress import Progress, show_progress
from wheelyard.cli.quantities import parse_since
from wheelyard.cli.shared_options import PACKAGES, given_option
from wheelyard.cli.standard_streams import is_output_lost
from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from wheelyard.model import project_json
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import with_name
from wheelyard.model.index_name import MAIN
from wheelyard.model.public_packages import Decision
from wheelyard.operations.journal_reader import (
    BEGINNING,
    DocumentJournal,
    JournalPart,
    JournalReader,
)
from wheelyard.wiring.stores import system_runtime

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
    PACKAGES,
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
    name = parse_name(project) if project is not None else None
    if filters["by"] == "":
        raise Invalid("--by is empty. Name a principal, a token or an e-mail, or leave it out.")
    if filters["what"]:
        project_json.require_entry_kind(filters["what"])
    api = open_api()
    journals = api.journals(name)
    since, until = _time_range(filters["since"], filters["until"])
    reader = JournalReader(
        journals,
        since=since,
        by=filters["by"] or "",
        what=filters["what"] or "",
        until=until,
        documents=_document_journals(api, name),
    )
    if follow:
        return _follow(reader, api, as_json=as_json)
    with _naming_alternatives(api):
        part = _read_with_progress(reader)
    _print_part(part, as_json=as_json)
    if not part.entries and not part.problems:
        print_message(logging.INFO, f"there is no such entry{_other_indexes_in_words(api)}")
    return int(bool(part.problems))


def _time_range(since: str | None, until: str | None) -> tuple[datetime, datetime | None]:
    """Return the times that --since and --until name, without --until None."""
    # by the same moment, so that --since 2h and --until 1h are an hour apart
    now = system_runtime().now()
    begin = BEGINNING
    if since is not None:
        begin = max(parse_since(since, now), BEGINNING)
    end = None
    if until is not None:
        end = parse_since(until, now)
    return begin, end


def _naming_alternatives(api: Api) -> AbstractContextManager[None]:
    """Return the context that names other indexes of a store in errors, as a server does it."""
    if isinstance(api, LocalApi):
        return naming_alternatives(api.index)
    return nullcontext()


def _other_indexes_in_words(api: Api) -> str:
    """Return the end of a sentence that names the other indexes, or nothing with `--index`."""
    if given_option("index"):
        return ""
    if isinstance(api, LocalApi):
        indexes = sorted(api.index.server.definitions.names())
    else:
        # a server names the other indexes only if main has no project
        answer = api.call(project_operations.list_projects, project_operations.ProjectsQuery())
        indexes = list(answer.other_indexes or ())
    if not indexes:
        return ""
    return f" in the index main; --index chooses another: {', '.join(indexes)}"


class _DecisionEvents(Struct, frozen=True):
    """The decisions about public projects, or if `project` is given, about that one alone."""

    api: Api
    project: NormalizedName | None

    def events_after(self, number: int) -> Iterator[tuple[int, Decision]]:
        """Yield each decision that follows commit `number`, with the number of its commit."""
        # NotFound: a server without an upstream index has no decisions
        with suppress(Forbidden, Unauthenticated, NotFound):
            # on a bucket each entry is a request, so projects without decisions read no history
            if self.project is not None:
                in_force = self.api.call(list_decisions).decisions
                if not any(decision.project == self.project for decision in in_force):
                    return
            for commit in self.api.call(decision_history, project_operations.After(number)).commits:
                for decision in commit.events:
                    yield commit.number, decision


class _StoredEvents(Struct, frozen=True):
    """The changes of another document of the store, which only administrators may see."""

    api: Api
    history: Callable[[Call, project_operations.HistoryQuery], Any]

    def events_after(self, number: int) -> Iterator[tuple[int, project_json.OtherEvent]]:
        """Yield each change that follows commit `number`, with the number of its commit."""
        # NotFound: an older server has no such document
        with suppress(Forbidden, Unauthenticated, NotFound):
            query = project_operations.HistoryQuery(number)
            for commit in self.api.call(self.history, query).commits:
                for event in commit.events:
                    yield commit.number, event


def _document_journals(api: Api, project: NormalizedName | None) -> tuple[DocumentJournal, ...]:
    """
    Return the journals of decisions and rights, which are empty for callers whom a server refuses.

    They are about the whole store, so that only main has them.
    """
    if chosen_index() != MAIN:
        return ()
    decisions = _DecisionEvents(api, project)
    decision_journal = DocumentJournal("the decisions about public projects", decisions, project)
    if project is not None:
        return (decision_journal,)
    grant_events = _StoredEvents(api, access_history)
    journals = [decision_journal, DocumentJournal("the changes of grants", grant_events)]
    for operations in TABLE_OPERATIONS:
        title = f"the changes of {operations.kind.title}"
        journals.append(DocumentJournal(title, _StoredEvents(api, operations.history)))
    return tuple(journals)


def _read_with_progress(reader: JournalReader) -> JournalPart:
    with show_progress("journal") as progress:
        return reader.read(progress.advance_of)


def _print_part(part: JournalPart, told_problems: Collection[str] = (), *, as_json: bool) -> None:
    """Print the entries of a part of the journal, and its problems without `told_problems`."""
    for entry in part.entries:
        if as_json:
            click.echo(encode(entry))
        else:
            click.echo(_entry_line(entry))
    for problem in dict.fromkeys(part.problems):
        if problem not in told_problems:
            warn(problem)


def _follow(reader: JournalReader, api: Api, *, as_json: bool) -> int:
    """Print entries as they come, until the output is closed, and return the exit status."""
    pause = LOCAL_PAUSE_SECONDS if api.is_local else REMOTE_PAUSE_SECONDS

    # with progress at first, as only the first look may be at thousands of projects
    read_part = _read_with_progress
    told_problems = list[str]()
    is_unavailable = False
    status = 0

    # `wheelyard journal --follow | head` ends when head has ended
    while not is_output_lost():
        try:
            part = read_part(reader)
        except Unavailable as fault:
            # told once for each outage
            if not is_unavailable:
                warn(f"{fault.message} The journal is read again as soon as that works.")
            is_unavailable = True
        else:
            if is_unavailable:
                print_message(logging.INFO, "the journal can be read again")
            is_unavailable = False
            _print_part(part, told_problems, as_json=as_json)
            told_problems = part.problems
            if part.problems:
                status = 1
            read_part = _read_without_progress
        system_runtime().pause(pause)
    return status


def _read_without_progress(reader: JournalReader) -> JournalPart:
    return reader.read(Progress().advance_of)


def _entry_line(entry: project_json.JournalEntry) -> str:
    # the detail of a deletion is whether bytes went at once, of other entries the new state
    detail = entry.status or entry.other_index
    if entry.at_once:
        detail = "at once"
    author = with_name(entry.by, entry.by_name)
    if entry.owner:
        author += f" of {entry.owner}"
    # of an import, who had uploaded the file to the source
    remark = f"uploaded by {entry.uploaded_by}" if entry.uploaded_by else entry.reason
    columns = (
        entry.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        entry.project or "-",
        f"{entry.done} {detail}".rstrip(),
        ", ".join(entry.files),
        author,
        entry.credential,
        remark,
    )
    return "\t".join(map(escaped, columns)).rstrip("\t")
