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
from wheelyard.cli.output import JSON, OUTPUT, PROJECT, REASON, CliGroup, print_result, warn
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

VERSION: Final = Argument(["version"], required=False)


@click.group("upstream", cls=CliGroup)
def upstream_command() -> None:
    """
    Bring, approve, block and clear out packages of upstream indexes.

    Documentation: upstream.md
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
    Let a public PROJECT, or one VERSION of it, be shown.

    No server has to be restarted. With upstream.approval only what is approved is shown. Approving
    a VERSION is about the files that its upstream index lists now, and prints them: a file that is
    added later is not approved. It also lets them through before their cooldown ends: somebody has
    looked at them.
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

    Documentation: upstream-policy.md
    """
    api, name, wanted = open_api(), parse_name(project), parse_version(version) if version else None
    approval = Approval(name, str(wanted or ""), reason, despite, sha256)
    in_force = decisions_about(api.call(public_package_operations.approve, approval).decisions)
    if wanted is None:
        click.echo(f"{name}: approved, also files and versions that are added later")
        _warn_of_blocked(name, in_force)
    else:
        click.echo(f"{name} {wanted}: approved")
    if sha256:
        _print_files((), in_force.for_version(str(wanted)))
        click.echo(f"no index was asked: 'wheelyard upstream why {name} {wanted}' says what hides")
        return
    # asked after the decision is in force: what hides a file now is another rule
    explained = _explanation(api, PackageQuestion(name, approval.version))
    if wanted is not None:
        _print_files(explained.files if explained else (), in_force.for_version(str(wanted)))
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

    Documentation: upstream-policy.md
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

    Documentation: upstream-policy.md
    """
    api, name = open_api(), parse_name(project) if project else None
    if history:
        commits = api.call(public_package_operations.decision_history, After()).commits
        all_decisions = tuple(decision for commit in commits for decision in commit.events)
    else:
        all_decisions = api.call(public_package_operations.list_decisions).decisions
    wanted = [decision for decision in all_decisions if name in (None, decision.project)]
    print_result({"decisions": wanted}, history_lines(api, wanted, map(describe, wanted)))


def _explanation(api: Api, question: PackageQuestion) -> Explanation | None:
    """Return what clients get now, or None if it is not known, as without the server's rules."""
    with suppress(WheelyardError):
        return api.call(public_package_operations.explain_package, question)
    return None


def _print_files(files: Sequence[ExplainedFile], approval: Decision | None) -> None:
    """Print the digests that were approved, with the filenames as far as they are known."""
    names = {file.sha256: file.filename for file in files}
    for digest in (approval.sha256 or ()) if approval else ():
        filename = f"{names[digest]}  " if digest in names else ""
        click.echo(f"  {escaped(filename)}sha256:{digest}")


def _warn_of_blocked(name: NormalizedName, in_force: ProjectDecisions) -> None:
    decisions = in_force.versions.values()
    blocked = [decision.version for decision in decisions if decision.verdict is Verdict.BLOCKED]
    if blocked:
        warn(f"still blocked, until they are approved by name: {name} {', '.join(blocked)}")


def _warn_of_hidden(explained: Explanation, version: Version | None) -> None:
    """Print what hides a version all the same, or how much of a project."""
    # no rule hides a file in another format
    files = [file for file in explained.files if "format" not in _codes(file)]
    hidden = [file for file in files if not file.shown]
    if version is None and hidden:
        codes = ", ".join(sorted({reason.code for file in hidden for reason in file.reasons}))
        warn(
            f"still hidden: {len(hidden)} of {counted(len(files), 'file')} ({codes}); "
            f"'wheelyard upstream why {explained.name}' says more"
        )
        return
    texts = [reason.text for file in hidden for reason in file.reasons]
    for text in dict.fromkeys([*texts, *(reason.text for reason in explained.reasons)]):
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

    Documentation: upstream-policy.md
    """
    question = PackageQuestion(parse_name(project), version or "")
    explanation = open_api().call(explain_package, question)
    print_result(explanation, _why_lines(explanation, version or ""))
    return 0 if any(file.shown for file in explanation.files) else 1


def _why_lines(explanation: Explanation, version: str) -> Iterator[str]:
    yield f"{explanation.name}: {explanation.answer}"
    yield from (f"  {reason.text}" for reason in explanation.reasons)
    yield from _page_lines(explanation)
    for decision in explanation.decisions:
        yield f"  {describe(decision)}, by {decision.by} on {decision.at:%Y-%m-%d}"
    yield from (f"  warning: {warning}" for warning in explanation.warnings)
    if explanation.fetched_at is not None and not explanation.files:
        yield f"  the upstream lists no file{f' of version {version}' if version else ''}"
    if explanation.files:
        shown = sum(file.shown for file in explanation.files)
        yield f"  {shown} of {counted(len(explanation.files), 'file')} shown"
        yield from _file_lines(explanation.files)


def _page_lines(explanation: Explanation) -> Iterator[str]:
    """Yield what is known of the page of the upstream, if there is one."""
    if explanation.fetched_at is not None:
        stale = ", stale: it should have been asked again, and has not answered"
        yield (
            f"  page of {explanation.upstream}, {explanation.status}, confirmed "
            f"{_age(explanation.age)} ago{stale if explanation.is_stale else ''}"
        )
    for place in explanation.alternate_locations:
        yield f"  alternate location, never followed: {place}"
    for host in explanation.refused_hosts:
        yield (
            f"  files of the host {host} are left out: upstream.file_hosts lacks it, or their "
            "URLs are not allowed"
        )


def _file_lines(files: tuple[ExplainedFile, ...]) -> Iterator[str]:
    """Yield a line for each file by version, and its reasons once for those that share them."""
    # groups are of neighbours, so files with the same reasons have to be sorted together
    ordered = sorted(files, key=lambda file: (parse_version(file.version), _texts(file)))
    for _, files_alike in groupby(ordered, key=lambda file: (file.version, _texts(file))):
        group = list(files_alike)
        for file in group:
            yield f"{'shown' if file.shown else 'hidden'}  {file.filename}"
        yield from (f"        {reason.code}: {reason.text}" for reason in group[0].reasons)


def _codes(file: ExplainedFile) -> set[str]:
    return {reason.code for reason in file.reasons}


def _texts(file: ExplainedFile) -> tuple[str, ...]:
    return tuple(reason.text for reason in file.reasons)


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

    Documentation: upstream.md
    """
    page = open_api().call(public_package_operations.refresh, Refresh(parse_name(project)))
    print_result(page, _page_changes(page))
    return 0 if page.upstream else 1


def _page_changes(page: RefreshedPage) -> Iterator[str]:
    if not page.upstream:
        # more than one may have it, and then none is taken
        yield (
            f"{page.name}: no upstream index has it, or it has moved: 'wheelyard upstream why "
            f"{page.name}' says which"
        )
        return
    yield f"{page.name}: {page.upstream} lists {counted(page.files, 'file')}"
    yield from (f"new  {filename}" for filename in page.new)
    yield from (f"removed  {filename}" for filename in page.removed)


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

    Documentation: upstream-behaviour.md
    """
    index, name = existing_index(), parse_name(project)
    owner = require_upstream(index).pages.forget(name)
    past = f"it was {owner}'s" if owner else "nothing was known of it"
    print_result({"project": name, "owner": owner}, [f"forgot {name}: {past}"])


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

    Documentation: upstream-policy.md
    """
    osv = require_upstream(existing_index()).policy.osv
    if osv is None:
        message = "There is no OSV database: upstream.osv is not set. Give the server's --config."
        raise Invalid(message, code="bad_setting")
    before, now = osv.accept()
    was = before.entries if before else 0
    line = f"accepted: {now.entries} usable entries, {was} before; skipped: {now.skipped}"
    print_result({"entries": now.entries, "before": was, "skipped": now.skipped}, [line])
