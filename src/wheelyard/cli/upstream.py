"""`wheelyard upstream`: packages of other indexes, beside the private ones."""

import click

from wheelyard.cli.help_text import examples
from wheelyard.cli.upstream_accept_osv import accept_osv
from wheelyard.cli.upstream_decisions import approve, block, decisions
from wheelyard.cli.upstream_forget import forget
from wheelyard.cli.upstream_prefetch import prefetch
from wheelyard.cli.upstream_refresh import refresh
from wheelyard.cli.upstream_sweep import sweep
from wheelyard.cli.upstream_why import why


@examples("upstream.md")
@click.group("upstream")
def command() -> None:
    """Bring, approve, block and clear out packages of upstream indexes."""


for each in (approve, block, decisions, why, refresh, prefetch, sweep, forget, accept_osv):
    command.add_command(each)
