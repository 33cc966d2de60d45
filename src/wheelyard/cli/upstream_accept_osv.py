"""`wheelyard upstream accept-osv`: take an OSV database that has lost entries."""

import click

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import existing_index, require_upstream, store_options
from wheelyard.cli.output import output_options, print_json, print_line
from wheelyard.errors import Invalid


@examples(
    "upstream.md",
    "wheelyard upstream accept-osv",
    "wheelyard upstream accept-osv --config /etc/wheelyard/wheelyard.toml",
)
@click.command("accept-osv")
@output_options
@store_options
def accept_osv() -> None:
    """
    Accept the OSV database of the settings as it is, though it has fewer entries than before.

    Servers refuse one that lacks more than a tenth of the entries of the one before, because what
    it lacks would no longer be hidden. Find out why they are gone first. Servers that run follow
    with the next request for a public package.
    """
    osv = require_upstream(existing_index()).policy.osv
    if osv is None:
        message = "There is no OSV database: [upstream] osv is not set. Give the server's --config."
        raise Invalid(message, code="bad_setting")
    before, now = osv.accept()
    was = before.entries if before else 0
    print_line(f"accepted: {now.entries} usable entries, {was} before; skipped: {osv.skipped}")
    print_json({"entries": now.entries, "before": was, "skipped": osv.skipped})
