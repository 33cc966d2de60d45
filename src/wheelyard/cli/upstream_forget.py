"""`wheelyard upstream forget`: which index owns a name is found out anew."""

import click

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import existing_index, require_upstream, store_options
from wheelyard.cli.output import output_options, print_json, print_line
from wheelyard.model.distribution_filename import parse_name


@examples(
    "upstream.md",
    "wheelyard upstream forget requests",
    "wheelyard upstream forget requests --json",
)
@click.command("forget")
@click.argument("project")
@output_options
@store_options
def forget(*, project: str) -> None:
    """
    Forget which upstream index owns PROJECT, and which digests its files had.

    It is for a name of one index that another one has now, and for a file that is hidden because
    its digest has changed. Find out why first: the next request takes what it finds.
    Servers that run follow when they ask for the page next.
    """
    index, name = existing_index(), parse_name(project)
    owner = require_upstream(index).pages.forget(name)
    known = f"it was {owner}'s" if owner else "nothing was known of it"
    print_line(f"forgot {name}: {known}")
    print_json({"project": name, "owner": owner})
