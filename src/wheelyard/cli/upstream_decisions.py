"""`wheelyard upstream approve`, `block` and `decisions`: what is decided about public packages."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import click
from msgspec.json import encode
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import public_packages
from wheelyard.api.projects import After
from wheelyard.api.public_packages import Approval, Block, PackageQuestion
from wheelyard.cli.api import Api, managed_options, open_api, token_names
from wheelyard.cli.help_text import examples
from wheelyard.cli.output import warn
from wheelyard.errors import WheelyardError
from wheelyard.model.decisions import Decision, ProjectDecisions, Verdict, decisions_about, describe
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.principals import with_name
from wheelyard.model.public_packages import ExplainedFile, Explanation
from wheelyard.model.text import counted, escaped

F = TypeVar("F", bound=Callable[..., object])

PAGE: Final = "upstream.md"

with_reason = click.option("--reason", default="", help="Why; it is kept in the journal.")


@examples(
    PAGE,
    "wheelyard upstream approve requests 2.32.5 --reason 'security fix'",
    "wheelyard upstream approve requests 2.32.5 --sha256 2462f94637a3...",
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
@click.option(
    "--sha256",
    multiple=True,
    metavar="DIGEST",
    help="Approve the file of VERSION with this digest, and ask no upstream index; repeatable.",
)
@with_reason
@managed_options
def approve(
    *,
    project: str,
    version: str | None,
    despite: tuple[str, ...],
    sha256: tuple[str, ...],
    reason: str,
) -> None:
    """
    Let a public PROJECT, or one VERSION of it, be shown; no server has to be restarted.

    With [upstream] approval only what is approved is shown. Approving a VERSION is about the
    files that its upstream index lists now, and prints them: a file that is added later is not
    approved. It also lets them through before their cooldown ends: somebody has looked at them.
    Approving a PROJECT is about later files and versions, too. Either takes back an earlier
    'block' of the same, and no block of a single version if it names the whole project.
    """
    api, name, wanted = open_api(), parse_name(project), parse_version(version) if version else None
    approval = Approval(name, str(wanted or ""), reason, despite, sha256)
    known = decisions_about(api.call(public_packages.approve, approval).decisions)
    if wanted is None:
        click.echo(f"{name}: approved, also files and versions that are added later")
        _warn_of_blocked(name, known)
    else:
        click.echo(f"{name} {wanted}: approved")
    if sha256:
        _print_files((), known.of(str(wanted)))
        click.echo(f"no index was asked: 'wheelyard upstream why {name} {wanted}' says what hides")
        return
    explained = _explanation(api, PackageQuestion(name, approval.version))
    if wanted is not None:
        _print_files(explained.files if explained else (), known.of(str(wanted)))
    if explained is not None:
        _warn_of_hidden(explained, wanted)


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
    name, wanted = parse_name(project), str(parse_version(version)) if version else ""
    open_api().call(public_packages.block, Block(name, wanted, reason))
    click.echo(f"{name} {wanted}".rstrip() + ": blocked")


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
    api, name = open_api(), parse_name(project) if project else None
    if history:
        commits = api.call(public_packages.decision_history, After()).commits
        found = tuple(commit.event for commit in commits)
    else:
        found = api.call(public_packages.list_decisions).decisions
    wanted = [each for each in found if name in (None, each.project)]
    if as_json:
        click.echo(encode({"decisions": wanted}))
        return
    names = token_names(api, {each.by for each in wanted})
    for each in wanted:
        by = with_name(each.by, names.get(each.by, ""))
        columns = (f"{each.at:%Y-%m-%d %H:%M:%S} UTC", by, describe(each))
        click.echo("\t".join(map(escaped, columns)))


def _explanation(api: Api, question: PackageQuestion) -> Explanation | None:
    """Return what clients get now; None if that cannot be said, as without the server's rules."""
    with suppress(WheelyardError):
        return api.call(public_packages.explain_package, question)
    return None


def _print_files(files: Sequence[ExplainedFile], approval: Decision | None) -> None:
    """Print the digests that were approved, with the filenames as far as they are known."""
    names = {file.sha256: file.filename for file in files}
    for digest in (approval.sha256 or ()) if approval else ():
        filename = f"{names[digest]}  " if digest in names else ""
        click.echo(f"  {escaped(filename)}sha256:{digest}")


def _warn_of_blocked(name: NormalizedName, known: ProjectDecisions) -> None:
    blocked = [each.version for each in known.versions.values() if each.verdict is Verdict.BLOCKED]
    if blocked:
        warn(f"still blocked, until they are approved by name: {name} {', '.join(blocked)}")


def _warn_of_hidden(explained: Explanation, version: Version | None) -> None:
    """Print what hides a version all the same, or how much of a project."""
    # no rule hides a file in another format
    files = [file for file in explained.files if "format" not in {e.code for e in file.reasons}]
    hidden = [file for file in files if not file.shown]
    if version is None and hidden:
        codes = ", ".join(sorted({each.code for file in hidden for each in file.reasons}))
        warn(
            f"still hidden: {len(hidden)} of {counted(len(files), 'file')} ({codes}); "
            f"'wheelyard upstream why {explained.name}' says more"
        )
        return
    texts = [each.text for file in hidden for each in file.reasons]
    for text in dict.fromkeys([*texts, *(each.text for each in explained.reasons)]):
        warn(f"still hidden: {text}")
