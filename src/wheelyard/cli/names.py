"""`wheelyard names`: the registry of private names."""

from collections.abc import Iterator

import click
from msgspec.json import encode

from wheelyard.api import projects
from wheelyard.api.projects import NameChange
from wheelyard.cli.api import managed_options, open_api
from wheelyard.cli.help_text import examples
from wheelyard.cli.output import confirm_name, is_interactive
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.text import counted, escaped
from wheelyard.operations.names import NameState, PrivateName

PAGE = "upstream.md"

with_reason = click.option("--reason", default="", help="Why; it is kept in the journal.")


@examples(PAGE)
@click.group("names")
def command() -> None:
    """
    List, reserve and release private names.

    A private name is never looked up at an upstream index. Every name under which something was
    published is private, also after all of its files are deleted.
    """


@examples(PAGE, "wheelyard names list", "wheelyard names list --json")
@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def list_names(*, as_json: bool) -> None:
    """List the private names, and why each of them is private."""
    found = open_api().call(projects.list_names)
    if as_json:
        click.echo(encode(found))
        return
    for name in found.names:
        click.echo("\t".join((escaped(name.name), *_facts(name))))


@examples(
    PAGE,
    "wheelyard names reserve acme-next",
    "wheelyard names reserve acme-next --reason 'starts in spring'",
)
@command.command("reserve")
@click.argument("name")
@with_reason
@managed_options
def reserve(name: str, reason: str) -> None:
    """Make NAME private before anything is published under it."""
    reserved = open_api().call(projects.reserve_name, parse_name(name), NameChange(reason))
    click.echo(f"{reserved.name}: {'reserved' if reserved.is_new else 'private already'}")


@examples(
    PAGE,
    "wheelyard names release acme-next",
    "wheelyard names release acme-next --reason 'never started' --yes",
)
@command.command("release")
@click.argument("name")
@with_reason
@click.option(
    "--yes",
    "--yes-i-know",
    is_flag=True,
    help="Do not ask; needed where there is no terminal.",
)
@managed_options
def release(*, name: str, reason: str, yes: bool) -> int:
    """
    Give NAME up, which must have no files: from then on an upstream index may have it.

    Clients that ask for NAME then get the public package of that name, if there is one.
    """
    if not (yes or is_interactive()):
        raise click.UsageError("Nobody can be asked here. Give --yes to release the name.")
    api, parsed = open_api(), parse_name(name)
    consequence = f"Clients may then get a public package named {parsed}."
    if not yes and not confirm_name(parsed, consequence):
        click.echo("wheelyard: nothing was released", err=True)
        return 1
    api.call(projects.release_name, parsed, NameChange(reason))
    click.echo(f"{parsed}: released")
    return 0


def _facts(found: PrivateName) -> Iterator[str]:
    if found.state is NameState.FILES:
        yield counted(found.files, "file")
        return
    yield {
        NameState.DELETED: "all files deleted",
        NameState.RESERVED: "reserved",
        NameState.CLAIMED: "nothing published",
        NameState.UNREADABLE: "cannot be read",
    }[found.state]
    if found.at is not None:
        yield f"{found.at:%Y-%m-%d %H:%M} {escaped(found.by)}"
    if found.reason:
        yield escaped(found.reason)
