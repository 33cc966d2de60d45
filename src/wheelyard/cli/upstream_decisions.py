"""`wheelyard upstream approve`, `block` and `decisions`: what is decided about public packages."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

import click
from msgspec.json import encode
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.cli.help_text import examples
from wheelyard.cli.managed_index import ManagedIndex, managed_index, managed_options, token_names
from wheelyard.cli.output import warn
from wheelyard.errors import WheelyardError
from wheelyard.model.decisions import Decision, ProjectDecisions, Verdict, describe
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.principals import with_name
from wheelyard.model.text import escaped

F = TypeVar("F", bound=Callable[..., object])

PAGE: Final = "upstream.md"

with_reason = click.option("--reason", default="", help="Why; it is kept in the journal.")


@examples(
    PAGE,
    "wheelyard upstream approve requests --reason 'TEAM-12'",
    "wheelyard upstream approve requests 2.32.5 --reason 'security fix'",
    "wheelyard upstream approve pyside6 6.9.0 --despite licence --reason 'bought'",
)
@click.command("approve")
@click.argument("project")
@click.argument("version", required=False)
@click.option(
    "--despite",
    multiple=True,
    metavar="RULE",
    help="Also lift this rule: licence, snapshot, cooldown; with VERSION vulnerable or malicious.",
)
@with_reason
@managed_options
def approve(*, project: str, version: str | None, despite: tuple[str, ...], reason: str) -> None:
    """
    Let a public PROJECT, or one VERSION of it, be shown; no server has to be restarted.

    With [upstream] approval only what is approved is shown. Approving a VERSION also lets it
    through before its cooldown ends: somebody has looked at it. It takes back an earlier 'block'
    of the same, and no block of a single version if it names the whole project.
    """
    index, name, wanted = managed_index(), parse_name(project), _version(version)
    known = index.approve(name, wanted, reason, despite)
    _print(known, name, wanted)
    blocked = [each.version for each in known.versions.values() if each.verdict is Verdict.BLOCKED]
    if wanted is not None:
        _warn_of_hidden(index, name, wanted)
    elif blocked:
        warn(f"still blocked, until they are approved by name: {name} {', '.join(blocked)}")


@examples(
    PAGE,
    "wheelyard upstream block leftpad --reason 'taken over'",
    "wheelyard upstream block requests 2.32.0 --reason 'loses cookies'",
)
@click.command("block")
@click.argument("project")
@click.argument("version", required=False)
@with_reason
@managed_options
def block(*, project: str, version: str | None, reason: str) -> None:
    """
    Hide a public PROJECT, or one VERSION of it, from every client, also from direct URLs.

    Blocking a whole project takes back the approvals of its versions. 'approve' takes it back.
    """
    index, name, wanted = managed_index(), parse_name(project), _version(version)
    _print(index.block(name, wanted, reason), name, wanted)


@examples(
    PAGE,
    "wheelyard upstream decisions",
    "wheelyard upstream decisions requests",
    "wheelyard upstream decisions --history",
)
@click.command("decisions")
@click.argument("project", required=False)
@click.option("--history", is_flag=True, help="Every decision ever made, the oldest first.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def decisions(*, project: str | None, history: bool, as_json: bool) -> None:
    """Print what was approved and blocked, of every PROJECT or of one: when, by whom, what, why."""
    index, name = managed_index(), parse_name(project) if project else None
    found: Iterable[Decision] = index.decisions()
    if history:
        found = (each.event for each in index.decision_history())
    wanted = [each for each in found if name in (None, each.project)]
    if as_json:
        click.echo(encode({"decisions": wanted}))
        return
    names = token_names(index, {each.by for each in wanted})
    for each in wanted:
        by = with_name(each.by, names.get(each.by, ""))
        columns = (f"{each.at:%Y-%m-%d %H:%M:%S} UTC", by, describe(each))
        click.echo("\t".join(map(escaped, columns)))


def _version(text: str | None) -> Version | None:
    return None if text is None else parse_version(text)


def _warn_of_hidden(index: ManagedIndex, name: NormalizedName, version: Version) -> None:
    """Print what hides an approved version all the same, if that can be said."""
    with suppress(WheelyardError):  # such as without the settings of the server
        files = index.explain_upstream(name, version).files
        reasons = (each.text for file in files for each in file.reasons)
        for text in dict.fromkeys(reasons):
            warn(f"still hidden: {text}")


def _print(known: ProjectDecisions, name: NormalizedName, wanted: Version | None) -> None:
    """Print the decision that was just made about a project, or about a version of it."""
    made = known.project if wanted is None else known.of(str(wanted))
    click.echo(f"{name}{f' {wanted}' if wanted else ''}: {made.verdict if made else ''}")
