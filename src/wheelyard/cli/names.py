"""`wheelyard names`: the registry of private names."""

from collections.abc import Iterator

import click
from msgspec.json import encode

from wheelyard.cli.help_text import examples
from wheelyard.cli.managed_index import managed_index, managed_options
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
    names = managed_index().private_names()
    if as_json:
        click.echo(encode({"names": names}))
        return
    for line in map(_line, names):
        click.echo(line)


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
    index, parsed = managed_index(), parse_name(name)
    is_new = index.reserve_name(parsed, reason)
    click.echo(f"{parsed}: {'reserved' if is_new else 'private already'}")


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
    index, parsed = managed_index(), parse_name(name)
    consequence = f"Clients may then get a public package named {parsed}."
    if not yes and not confirm_name(parsed, consequence):
        click.echo("wheelyard: nothing was released", err=True)
        return 1
    index.release_name(parsed, reason)
    click.echo(f"{parsed}: released")
    return 0


def _line(found: PrivateName) -> str:
    return "\t".join((escaped(found.name), *_facts(found)))


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
