"""`wheelyard upstream`: packages of other indexes, beside the private ones."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

import click
from click import Argument, Option
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import public_package_operations
from wheelyard.api.project_operations import After
from wheelyard.api.public_package_operations import (
    Approval,
    Block,
    PackageQuestion,
    Refresh,
    explain_package,
)
from wheelyard.cli.options import (
    INDEX,
    STORE,
    Api,
    existing_index,
    history_lines,
    open_api,
    require_upstream,
)
from wheelyard.cli.output import JSON, OUTPUT, REASON, CliGroup, print_result, warn
from wheelyard.cli.upstream_file_commands import prefetch, sweep
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.public_packages import (
    Decision,
    ExplainedFile,
    Explanation,
    ProjectDecisions,
    RefreshedPage,
    Verdict,
    decisions_about,
    describe,
)

PROJECT: Final = Argument(["project"])
VERSION: Final = Argument(["version"], required=False)


@click.group("upstream", cls=CliGroup)
def upstream_command() -> None:
    """
    Bring, approve, block and clear out packages of upstream indexes.

    Documentation: docs/upstream.md
    """


upstream_command.add_command(prefetch)
upstream_command.add_command(sweep)


@upstream_command.subcommand(
    "approve",
    PROJECT,
    VERSION,
    Option(["--despite"], multiple=True, metavar="RULE"),
    Option(["--sha256"], multiple=True, metavar="DIGEST"),
    REASON,
    *INDEX,
)
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

    With upstream.approval only what is approved is shown. Approving a VERSION is about the
    files that its upstream index lists now, and prints them: a file that is added later is not
    approved. It also lets them through before their cooldown ends: somebody has looked at them.
    Approving a PROJECT is about later files and versions, too. Either takes back an earlier
    'block' of the same, and no block of a single version if it names the whole project.

    Options:
        --despite: Also lift this rule: licence, snapshot, cooldown; with VERSION vulnerable or
            malicious.
        --sha256: Approve the file of VERSION with this digest, and ask no upstream index;
            repeatable.

    Examples:
        wheelyard upstream approve requests 2.32.5 --reason 'security fix'
        wheelyard upstream approve requests 2.32.5 --sha256 2462f94637a3...
        wheelyard upstream approve pyside6 6.9.0 --despite licence --reason 'bought'

    Documentation: docs/upstream-policy.md
    """
    api, name, wanted = open_api(), parse_name(project), parse_version(version) if version else None
    approval = Approval(name, str(wanted or ""), reason, despite, sha256)
    known = decisions_about(api.call(public_package_operations.approve, approval).decisions)
    if wanted is None:
        click.echo(f"{name}: approved, also files and versions that are added later")
        _warn_of_blocked(name, known)
    else:
        click.echo(f"{name} {wanted}: approved")
    if sha256:
        _print_files((), known.for_version(str(wanted)))
        click.echo(f"no index was asked: 'wheelyard upstream why {name} {wanted}' says what hides")
        return
    explained = _explanation(api, PackageQuestion(name, approval.version))
    if wanted is not None:
        _print_files(explained.files if explained else (), known.for_version(str(wanted)))
    if explained is not None:
        _warn_of_hidden(explained, wanted)


@upstream_command.subcommand("block", PROJECT, VERSION, REASON, *INDEX)
def block(*, project: str, version: str | None, reason: str) -> None:
    """
    Hide a public PROJECT, or one VERSION of it, from every client, also from direct URLs.

    Blocking a whole project takes back the approvals of its versions. 'approve' takes it back.

    Examples:
        wheelyard upstream block leftpad --reason 'taken over'
        wheelyard upstream block requests 2.32.0 --reason 'loses cookies'

    Documentation: docs/upstream-policy.md
    """
    name, wanted = parse_name(project), str(parse_version(version)) if version else ""
    open_api().call(public_package_operations.block, Block(name, wanted, reason))
    click.echo(f"{name} {wanted}".rstrip() + ": blocked")


@upstream_command.subcommand(
    "decisions",
    Argument(["project"], required=False),
    Option(["--history"], is_flag=True),
    JSON,
    *INDEX,
)
def decisions(project: str | None, *, history: bool) -> None:
    """
    Print what was approved and blocked, of every PROJECT or of one: when, by whom, what, why.

    Options:
        --history: Every decision ever made, the oldest first.

    Examples:
        wheelyard upstream decisions
        wheelyard upstream decisions requests
        wheelyard upstream decisions --history

    Documentation: docs/upstream-policy.md
    """
    api, name = open_api(), parse_name(project) if project else None
    if history:
        commits = api.call(public_package_operations.decision_history, After()).commits
        found = tuple(decision for commit in commits for decision in commit.events)
    else:
        found = api.call(public_package_operations.list_decisions).decisions
    wanted = [each for each in found if name in (None, each.project)]
    print_result({"decisions": wanted}, history_lines(api, wanted, describe))


def _explanation(api: Api, question: PackageQuestion) -> Explanation | None:
    """Return what clients get now; None if that cannot be said, as without the server's rules."""
    with suppress(WheelyardError):
        return api.call(public_package_operations.explain_package, question)
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


@upstream_command.subcommand("why", PROJECT, VERSION, JSON, *INDEX)
def why(project: str, version: str | None) -> int:
    """
    Print what clients get for PROJECT, or for one VERSION of it, and why not the rest.

    It asks the upstream index as a client would, and no upstream index for a private name. Exit
    status 0 if some file is shown, 1 if none is.

    Examples:
        wheelyard upstream why requests 2.32.6
        wheelyard upstream why requests --json
        wheelyard upstream why requests --server https://packages.acme.dev

    Documentation: docs/upstream-policy.md
    """
    question = PackageQuestion(parse_name(project), version or "")
    found = open_api().call(explain_package, question)
    print_result(found, _why_lines(found, version or ""))
    return 0 if any(each.shown for each in found.files) else 1


def _why_lines(found: Explanation, version: str) -> Iterator[str]:
    yield f"{found.name}: {found.answer}"
    yield from (f"  {reason.text}" for reason in found.reasons)
    yield from _page_lines(found)
    for each in found.decisions:
        yield f"  {describe(each)}, by {each.by} on {each.at:%Y-%m-%d}"
    yield from (f"  warning: {warning}" for warning in found.warnings)
    if found.fetched_at is not None and not found.files:
        yield f"  the upstream lists no file{f' of version {version}' if version else ''}"
    if found.files:
        shown = sum(each.shown for each in found.files)
        yield f"  {shown} of {counted(len(found.files), 'file')} shown"
        yield from _file_lines(found.files)


def _page_lines(found: Explanation) -> Iterator[str]:
    """Yield what is known of the page of the upstream, if there is one."""
    if found.fetched_at is not None:
        stale = ", stale: it should have been asked again, and has not answered"
        yield (
            f"  page of {found.upstream}, {found.status}, confirmed {_age(found.age)} ago"
            f"{stale if found.is_stale else ''}"
        )
    for place in found.alternate_locations:
        yield f"  alternate location, never followed: {place}"
    for host in found.refused_hosts:
        yield (
            f"  files of the host {host} are left out: upstream.file_hosts lacks it, or their "
            "URLs are not allowed"
        )


def _file_lines(files: tuple[ExplainedFile, ...]) -> Iterator[str]:
    """Yield a line for each file by version, and its reasons once for those that share them."""
    ordered = sorted(files, key=lambda each: (parse_version(each.version), _texts(each)))
    for _, some in groupby(ordered, key=lambda each: (each.version, _texts(each))):
        group = list(some)
        for each in group:
            yield f"{'shown' if each.shown else 'hidden'}  {each.filename}"
        yield from (f"        {reason.code}: {reason.text}" for reason in group[0].reasons)


def _texts(file: ExplainedFile) -> tuple[str, ...]:
    return tuple(each.text for each in file.reasons)


def _age(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return counted(int(seconds), "second")


@upstream_command.subcommand("refresh", PROJECT, JSON, *INDEX)
def refresh(project: str) -> int:
    """
    Ask the upstream index for PROJECT now, such as after a release or for a name that was missing.

    Servers that run have what has come within ten seconds. With --server, it is for whoever may
    upload something there. Exit status 0 if an index has it, 1 if none has.

    Examples:
        wheelyard upstream refresh requests
        wheelyard upstream refresh requests --server https://packages.acme.dev

    Documentation: docs/upstream.md
    """
    found = open_api().call(public_package_operations.refresh, Refresh(parse_name(project)))
    print_result(found, _page_changes(found))
    return 0 if found.upstream else 1


def _page_changes(found: RefreshedPage) -> Iterator[str]:
    if not found.upstream:
        # more than one may have it, and then none is taken
        yield (
            f"{found.name}: no upstream index has it, or it has moved: 'wheelyard upstream why "
            f"{found.name}' says which"
        )
        return
    yield f"{found.name}: {found.upstream} lists {counted(found.files, 'file')}"
    yield from (f"new  {filename}" for filename in found.new)
    yield from (f"removed  {filename}" for filename in found.removed)


@upstream_command.subcommand("forget", PROJECT, *OUTPUT, *STORE)
def forget(*, project: str) -> None:
    """
    Forget which upstream index owns PROJECT, and which digests its files had.

    It is for a name of one index that another one has now, and for a file that is hidden because
    its digest has changed. Find out why first: the next request takes what it finds.
    Servers that run follow when they ask for the page next.

    Examples:
        wheelyard upstream forget requests
        wheelyard upstream forget requests --json

    Documentation: docs/upstream-behaviour.md
    """
    index, name = existing_index(), parse_name(project)
    owner = require_upstream(index).pages.forget(name)
    known = f"it was {owner}'s" if owner else "nothing was known of it"
    print_result({"project": name, "owner": owner}, [f"forgot {name}: {known}"])


@upstream_command.subcommand("accept-osv", *OUTPUT, *STORE)
def accept_osv() -> None:
    """
    Accept the OSV database of the settings as it is, though it has fewer entries than before.

    Servers refuse one that lacks more than a tenth of the entries of the one before, because what
    it lacks would no longer be hidden. Find out why they are gone first. Servers that run follow
    with the next request for a public package.

    Examples:
        wheelyard upstream accept-osv
        wheelyard upstream accept-osv --config /etc/wheelyard/wheelyard.toml

    Documentation: docs/upstream-policy.md
    """
    osv = require_upstream(existing_index()).policy.osv
    if osv is None:
        message = "There is no OSV database: upstream.osv is not set. Give the server's --config."
        raise Invalid(message, code="bad_setting")
    before, now = osv.accept()
    was = before.entries if before else 0
    line = f"accepted: {now.entries} usable entries, {was} before; skipped: {now.skipped}"
    print_result({"entries": now.entries, "before": was, "skipped": now.skipped}, [line])
