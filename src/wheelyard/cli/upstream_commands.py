"""`wheelyard upstream`: the group of commands about public packages, and the small ones of them."""

from collections.abc import Iterator

import click

from wheelyard.api import public_package_operations
from wheelyard.api.public_package_operations import Refresh
from wheelyard.api.why_operations import WhyQuestion
from wheelyard.cli import command_context, shared_options, upstream_decision_commands
from wheelyard.cli.command import CliGroup
from wheelyard.cli.output import print_result
from wheelyard.cli.program import command_line
from wheelyard.cli.upstream_request_commands import request, requests
from wheelyard.cli.upstream_sweep_command import sweep
from wheelyard.cli.why_command import print_explanation
from wheelyard.errors import Invalid
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.public_packages import RefreshedPage


@click.group("upstream", cls=CliGroup, page="upstream.md")
def upstream_command() -> None:
    """Approve, block and clear out packages of upstream indexes."""


for _command in (
    upstream_decision_commands.approve,
    upstream_decision_commands.block,
    upstream_decision_commands.decisions,
    requests,
    request,
    sweep,
):
    upstream_command.add_command(_command)


@upstream_command.subcommand(
    "why",
    shared_options.PROJECT,
    upstream_decision_commands.VERSION,
    shared_options.JSON,
    shared_options.PACKAGES,
    examples=(
        "wheelyard upstream why requests 2.32.6",
        "wheelyard upstream why requests --json",
        "wheelyard upstream why requests --server https://packages.acme.dev",
    ),
    page="upstream-policy.md",
)
def why(project: str, version: str | None) -> int:
    """
    Print what clients get for PROJECT, or for one VERSION of it, and why not the rest.

    It asks the upstream index as a client would, and no upstream index for a private name. Exit
    status 0 if some file is shown, 1 if none is.
    """
    return print_explanation(
        command_context.open_api(), WhyQuestion(parse_name(project), version or "")
    )


@upstream_command.subcommand(
    "refresh",
    shared_options.PROJECT,
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard upstream refresh requests",
        "wheelyard upstream refresh requests --server https://packages.acme.dev",
    ),
    page="upstream.md",
)
def refresh(project: str) -> int:
    """
    Ask the upstream index for PROJECT now, such as after a release or for a name that was missing.

    Servers that run have what has come within ten seconds. With --server, it is for whoever may
    upload something there. Exit status 0 if an index has it, 1 if none has.
    """
    page = command_context.open_api().call(
        public_package_operations.refresh, Refresh(parse_name(project))
    )
    print_result(page, _page_changes(page))
    return int(not page.upstream)


def _page_changes(page: RefreshedPage) -> Iterator[str]:
    """Yield which upstream index has a project, and which files are new or were removed."""
    if not page.upstream:
        # also said if several indexes have it now, of which none is taken
        yield (
            f"{page.name}: no upstream index has it, or it has moved: "
            f"{command_line('upstream', 'why', page.name)} says which"
        )
        return
    yield f"{page.name}: {page.upstream} lists {counted(page.files, 'file')}"
    yield from (f"new  {filename}" for filename in page.new)
    yield from (f"removed  {filename}" for filename in page.removed)


@upstream_command.subcommand(
    "forget",
    shared_options.PROJECT,
    shared_options.OUTPUT,
    shared_options.STORE,
    examples=("wheelyard upstream forget requests", "wheelyard upstream forget requests --json"),
    page="upstream-behaviour.md",
)
def forget(*, project: str) -> None:
    """
    Forget which upstream index owns PROJECT, and which digests its files had.

    It is for a name of one index that another one has now, and for a file that is hidden because
    its digest has changed. Find out why first: the next request takes what it finds.
    Servers that run follow when they ask for the page next.
    """
    index = command_context.existing_index()
    name = parse_name(project)
    owner = command_context.require_upstream(index).pages.forget(name)
    fact = f"it was {owner}'s" if owner else "nothing was known of it"
    print_result({"project": name, "owner": owner}, [f"forgot {name}: {fact}"])


@upstream_command.subcommand(
    "accept-osv",
    shared_options.OUTPUT,
    shared_options.STORE,
    examples=(
        "wheelyard upstream accept-osv",
        "wheelyard upstream accept-osv --config /etc/wheelyard/wheelyard.toml",
    ),
    page="upstream-policy.md",
)
def accept_osv() -> None:
    """
    Accept the OSV database of the settings as it is, though it has fewer entries than before.

    Servers refuse one that lacks more than a tenth of the entries of the one before, because what
    it lacks would no longer be hidden. Find out why they are gone first. Servers that run follow
    with the next request for a public package.
    """
    osv = command_context.require_upstream(command_context.existing_index()).policy.osv
    if osv is None:
        message = "There is no OSV database: upstream.osv is not set. Give the server's --config."
        raise Invalid(message, code="bad_setting")
    old_database, new_database = osv.accept()
    old_entries = old_database.entries if old_database else 0
    counts = f"{new_database.entries} usable entries, {old_entries} before"
    line = f"accepted: {counts}; skipped: {new_database.skipped}"
    print_result(
        {"entries": new_database.entries, "before": old_entries, "skipped": new_database.skipped},
        [line],
    )
