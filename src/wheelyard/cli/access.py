"""`wheelyard access`: who may do what, and why."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from msgspec.structs import replace

from wheelyard.authentication.explain import explain, parse_subject
from wheelyard.cli.help_text import examples
from wheelyard.cli.options import command_settings, existing_index, store_options
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import ACTIONS, describe_actions
from wheelyard.wiring.index import authenticator_of_settings


@examples(
    "access.md",
    "wheelyard access explain user:ana@acme.dev acme-core upload",
    "wheelyard access explain anonymous acme-core read",
)
@click.group("access")
def command() -> None:
    """Explain who may do what, and why."""


@examples(
    "access.md",
    "wheelyard access explain user:ana@acme.dev acme-core upload",
    "wheelyard access explain token:x7Kq2mPz4A acme-core manage",
    "wheelyard access explain anonymous acme-core read",
)
@command.command("explain")
@click.argument("who")
@click.argument("project")
@click.argument("action", type=click.Choice(list(ACTIONS)))
@store_options
def explain_access(who: str, project: str, action: str) -> int:
    """
    Print whether WHO may do ACTION to PROJECT, and why; exit 0 for yes, 1 for no.

    PROJECT need not exist. WHO is written as in a grant: user:ana@acme.dev, with commas for a
    caller with several principals (user:ana@acme.dev,domain:acme.dev); or token:ID, or anonymous. A
    service account is serviceAccount:EMAIL, and serviceAccount:EMAIL#NUMBER where its unique id
    counts.
    """
    with _usage_errors():
        name, wanted = parse_name(project), ACTIONS[action]
    if who.startswith("token:"):
        index = existing_index()
        settings, authenticator = index.settings, index.authenticator
    else:  # no store is needed
        settings = command_settings()
        # grants do not depend on passwords, and the file may be missing here
        authenticator = authenticator_of_settings(
            replace(settings, access=replace(settings.access, htpasswd_file=""))
        )
    with _usage_errors():
        subject = parse_subject(who, authenticator)
    found = explain(subject, wanted, name, authenticator, settings.private_patterns)
    may = "may" if found.allowed else "may not"
    click.echo(f"{'yes' if found.allowed else 'no'}: {who} {may} {describe_actions(wanted)} {name}")
    for reason in found.reasons:
        click.echo(f"  {reason}" if found.allowed else f"  they see {reason}")
    for hint in found.hints:
        click.echo(f"  {hint}")
    return 0 if found.allowed else 1


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Raise UsageError (exit status 2) for Invalid in this block, as exit status 1 means "no"."""
    try:
        yield
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault
