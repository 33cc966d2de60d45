"""`wheelyard journal`: print who did what to one project or to all, and go on printing."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Final

import click
from click import Argument, Option
from msgspec.json import encode
from packaging.utils import NormalizedName

from wheelyard.api.access import access_history
from wheelyard.api.projects import After
from wheelyard.api.public_packages import decision_history, list_decisions
from wheelyard.cli.command import cli_command
from wheelyard.cli.options import INDEX, Api, open_api
from wheelyard.cli.output import is_output_lost, parse_since, print_message, progress_bar, warn
from wheelyard.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import with_name
from wheelyard.model.journal_entry import JournalEntry, other_entry_of
from wheelyard.operations.journal import BEGINNING, JournalPart, JournalReader, OtherJournal
from wheelyard.wiring.stores import system_runtime

LOCAL_PAUSE_SECONDS: Final = 1.0
REMOTE_PAUSE_SECONDS: Final = 10.0
"""The pause of `--follow` between two looks; a look at a bucket costs money."""


@cli_command(
    "journal",
    Argument(["project"], required=False),
    Option(["--since"], metavar="TIME"),
    Option(["--by"], metavar="WHO"),
    Option(["--json", "as_json"], is_flag=True),
    Option(["--follow"], is_flag=True),
    *INDEX,
)
def journal_command(
    project: str | None, since: str | None, by: str | None, *, as_json: bool, follow: bool
) -> int:
    """
    Print who did what to PROJECT, or to all projects, when, and with which credential.

    Decisions about public projects are among the entries, and without PROJECT the changes of the
    grants and groups in the store.

    Entries come in order of time, oldest first. The status is 1 if an entry could not be read.

    Options:
        --since: 2026-01-31, 2026-01-31T12:00:00Z (UTC), 30m, 7d.
        --by: A principal, a token's id or name, an e-mail.
        --json: For programs: one object a line.
        --follow: Go on with new entries until Ctrl-C.

    Examples:
        wheelyard journal acme-core
        wheelyard journal --since 7d --by ci
        wheelyard journal --follow --json

    Documentation: docs/projects.md
    """
    name = None if project is None else parse_name(project)
    if by == "":
        raise Invalid("--by is empty. Name a principal, a token or an e-mail, or leave it out.")
    api, now = open_api(), system_runtime().now()
    start = BEGINNING if since is None else max(parse_since(since, now), BEGINNING)
    others = _other_journals(api, name)
    reader = JournalReader(api.journals(name), start, by or "", others)
    if follow:
        return _follow(reader, api, as_json=as_json)
    part = _read_with_progress(reader)
    _print(part, as_json=as_json)
    if not part.entries and not part.problems:
        print_message(logging.INFO, "there is no such entry")
    return 1 if part.problems else 0


def _other_journals(api: Api, only: NormalizedName | None) -> tuple[OtherJournal, ...]:
    """Return the journals of decisions and grants, which are empty for whom a server refuses."""

    def decisions(after: int, name_of: Callable[[str], str]) -> Iterator[JournalEntry]:
        with suppress(Forbidden, Unauthenticated):
            # on a bucket each entry is a request, and most projects have none
            if only is None or any(
                each.project == only for each in api.call(list_decisions).decisions
            ):
                for commit in api.call(decision_history, After(after)).commits:
                    for decision in commit.events:
                        yield other_entry_of(commit.number, decision, name_of(decision.by))

    def grants(after: int, name_of: Callable[[str], str]) -> Iterator[JournalEntry]:
        with suppress(Forbidden, Unauthenticated):
            for commit in api.call(access_history, After(after)).commits:
                for event in commit.events:
                    yield other_entry_of(commit.number, event, name_of(event.by))

    about_projects = OtherJournal("the decisions about public projects", decisions, only)
    of_rights = OtherJournal("the changes of grants", grants)
    return (about_projects,) if only is not None else (about_projects, of_rights)


def _read_with_progress(reader: JournalReader) -> JournalPart:
    columns = ("SpinnerColumn", "MofNCompleteColumn", "{task.description}")
    with progress_bar("journal", *columns) as update:
        return reader.read(lambda total, name: update(total=total, advance=1, description=name))


def _print(part: JournalPart, told: Collection[str] = (), *, as_json: bool) -> None:
    """Print the entries of a part, and those of its problems that were not `told` before."""
    for entry in part.entries:
        click.echo(encode(entry) if as_json else _line(entry))
    for problem in dict.fromkeys(part.problems):
        if problem not in told:
            warn(problem)


def _follow(reader: JournalReader, api: Api, *, as_json: bool) -> int:
    """Print entries as they come, until nobody reads the output any more; return the status."""
    pause = LOCAL_PAUSE_SECONDS if api.is_local else REMOTE_PAUSE_SECONDS
    read, told = _read_with_progress, list[str]()
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
            _print(part, told, as_json=as_json)
            is_away, told = False, part.problems
            status = 1 if part.problems else status
            read = _read_quietly
        system_runtime().pause(pause)
    return status


def _read_quietly(reader: JournalReader) -> JournalPart:
    return reader.read(lambda *_: None)


def _line(entry: JournalEntry) -> str:
    what = f"{entry.what} {entry.status}".rstrip()
    columns = (
        entry.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        entry.project or "-",
        what,
        ", ".join(entry.files),
        with_name(entry.by, entry.by_name),
        entry.credential,
        f"uploaded by {entry.uploaded_by}" if entry.uploaded_by else entry.reason,
    )
    return "\t".join(map(escaped, columns)).rstrip("\t")
