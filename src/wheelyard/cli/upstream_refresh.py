"""`wheelyard upstream refresh`: a public project is asked for now."""

import click
from msgspec.json import encode

from wheelyard.api import public_packages
from wheelyard.api.public_packages import Refresh
from wheelyard.cli.api import managed_options, open_api
from wheelyard.cli.help_text import examples
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.text import counted, escaped


@examples(
    "upstream.md",
    "wheelyard upstream refresh requests",
    "wheelyard upstream refresh requests --server https://packages.acme.dev",
)
@click.command("refresh")
@click.argument("project")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def refresh(*, project: str, as_json: bool) -> int:
    """
    Ask the upstream index for PROJECT now, such as after a release or for a name that was missing.

    Servers that run have what has come within ten seconds. With --server, it is for whoever may
    upload something there. Exit status 0 if an index has it, 1 if none has.
    """
    found = open_api().call(public_packages.refresh, Refresh(parse_name(project)))
    if as_json:
        click.echo(encode(found))
    elif not found.upstream:
        # more than one may have it, and then none is taken
        click.echo(
            f"{found.name}: no upstream index has it, or it has moved: 'wheelyard upstream why "
            f"{found.name}' says which"
        )
    else:
        click.echo(f"{found.name}: {found.upstream} lists {counted(found.files, 'file')}")
        for word, filenames in (("new", found.new), ("removed", found.removed)):
            for each in filenames:
                click.echo(escaped(f"{word}  {each}"))
    return 0 if found.upstream else 1
