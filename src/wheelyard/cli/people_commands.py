"""`wheelyard people`: the people whom an index knows, their rights, and the end of them."""

from collections.abc import Iterator
from typing import Final, get_args

import click
from click import Argument, Option

from wheelyard.api import people_operations
from wheelyard.authentication.known_people import KnownPerson, PersonState
from wheelyard.cli import shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.command_context import open_api
from wheelyard.cli.output import print_result
from wheelyard.model.access import describe_index_text, describe_projects
from wheelyard.model.decoding import escaped

JOURNAL_NOTE: Final = Option(["--note"], default="", metavar="TEXT", help="Why, for the journal.")


@click.group("people", cls=CliGroup, page="web.md")
def people_command() -> None:
    """
    List the people whom an index knows, show what one may do, and end their access.

    They are those who have signed in with a provider, names of the htpasswd file, and people in
    grants, in groups and of tokens.
    """


@people_command.subcommand(
    "list",
    shared_options.SEARCH,
    Option(["--state"], type=click.Choice(get_args(PersonState)), help="Only those."),
    Option(["--group"], default="", metavar="WHO", help="Only people of oidc:PROVIDER:group:NAME."),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard people list",
        "wheelyard people list --state ended",
        "wheelyard people list --group oidc:acme:group:platform --json",
    ),
    page="web.md",
)
def list_people(search: str, state: PersonState | None, group: str) -> None:
    """
    List people: active, ended, gone, unseen (not signed in yet), unknown (Google decides).

    Of somebody who is refused, the provider did not confirm the account at the last renewal.
    """
    query = people_operations.PeopleQuery(search=search, state=state, group=group)
    answer = open_api().call(people_operations.list_people, query)
    print_result(answer, map(_person_columns, answer.people))


def _person_columns(person: KnownPerson) -> tuple[str, ...]:
    """Return the columns of a person: principal, state, groups, and when things happened."""
    columns: list[str] = [person.who, person.state]
    if person.groups:
        columns.append(f"of {', '.join(person.groups)}")
    if person.confirmed is not None:
        columns.append(f"confirmed {person.confirmed:%Y-%m-%d %H:%M} UTC")
    if person.ended is not None:
        columns.append(f"ended {person.ended:%Y-%m-%d %H:%M} UTC by {person.ended_by}")
    return tuple(columns)


@people_command.subcommand(
    "show",
    Argument(["who"]),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard people show htpasswd:ana",
        "wheelyard people show oidc:acme:ana@acme.dev --json",
    ),
    page="web.md",
)
def show_person(who: str) -> None:
    """
    Print who WHO is: groups, what they may do and through what, and their tokens.

    WHO is a principal: htpasswd:NAME, user:EMAIL, serviceAccount:EMAIL, oidc:PROVIDER:NAME, perhaps
    with the id behind a #.
    """
    answer = open_api().call(people_operations.show_person, people_operations.PersonQuestion(who))
    print_result(answer, _person_lines(answer))


def _person_lines(answer: people_operations.PersonAnswer) -> Iterator[str | tuple[str, ...]]:
    yield _person_columns(answer.person)
    if answer.groups:
        yield f"groups of this index: {', '.join(answer.groups)}"
    for right in answer.rights:
        # rights by the IAM policy of the bucket are known only when Google is asked
        can = ", ".join(right.can) or "what Google says"
        note = f" ({right.note})" if right.note else ""
        place = f" in {describe_index_text(right.index)}" if right.index else ""
        projects = describe_projects(right.projects)
        yield f"may {can} {projects}{place}: {right.who}, {right.source}{note}"
    for token in answer.tokens:
        yield f"token {token.id}: {token.name}, {token.state}, until {token.expires:%Y-%m-%d}"


@people_command.subcommand(
    "groups",
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard people groups",
        "wheelyard people groups --server https://packages.acme.dev",
    ),
    page="web.md",
)
def list_groups() -> None:
    """List the groups of providers that people who have signed in are in, with their number."""
    answer = open_api().call(people_operations.list_provider_groups)
    print_result(answer, ((group.principal, str(group.people)) for group in answer.groups))


@people_command.subcommand(
    "end",
    Argument(["who"]),
    JOURNAL_NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard people end htpasswd:ana --note 'has left us'",
        "wheelyard people end oidc:acme:ana@acme.dev",
    ),
    page="web.md",
)
def end_person(who: str, note: str) -> None:
    """
    End the access of WHO: sessions and tokens end on every server within 15 seconds.

    WHO is as for 'wheelyard people show'. Neither a line of the htpasswd file nor a provider lets
    them in again, but 'wheelyard people admit' does.
    """
    person = open_api().call(
        people_operations.end_person, people_operations.PersonChange(who, note)
    )
    click.echo(escaped(f"{person.who}: ended"))


@people_command.subcommand(
    "admit",
    Argument(["who"]),
    JOURNAL_NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard people admit htpasswd:ana",
        "wheelyard people admit oidc:acme:ana@acme.dev --note 'is back'",
    ),
    page="web.md",
)
def admit_person(who: str, note: str) -> None:
    """
    Let WHO in again, whose access was ended.

    Tokens of theirs that nobody has revoked, and that have not expired, work again.
    """
    person = open_api().call(
        people_operations.admit_person, people_operations.PersonChange(who, note)
    )
    click.echo(escaped(f"{person.who}: {person.state}"))


@people_command.subcommand(
    "release-name",
    Argument(["provider"]),
    Argument(["name"]),
    shared_options.INDEX,
    examples=(
        "wheelyard people release-name acme ana@acme.dev",
        "wheelyard people release-name acme ana@acme.dev --store gs://acme-packages",
    ),
    page="providers/README.md",
)
def release_name(provider: str, name: str) -> None:
    """
    Let another person of PROVIDER have the name NAME.

    A name belongs to the first person who signs in with it. If the provider has given it to
    somebody else since, this lets them in. The access of whoever has the name now is ended.
    """
    released = open_api().call(
        people_operations.release_name, people_operations.NameRelease(provider, name)
    )
    click.echo(escaped(f"{name}: released"))
    if released.ended is not None:
        # on standard error, as a script reads the released name from standard output
        click.echo(escaped(f"{released.ended}: ended"), err=True)
