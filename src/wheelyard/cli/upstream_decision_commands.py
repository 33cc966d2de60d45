"""`wheelyard upstream approve`, `block` and `decisions`: what of public packages is let through."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import click
from click import Argument, Option
from msgspec import Struct
from msgspec.structs import asdict
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import public_package_operations
from wheelyard.api.project_operations import After
from wheelyard.api.public_package_operations import (
    Approval,
    Block,
    DecidedPackage,
    SeveralDecisions,
)
from wheelyard.api.why_operations import WhyQuestion, explain_project
from wheelyard.cli import shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.history import history_lines
from wheelyard.cli.opening import Api, open_api
from wheelyard.cli.output import print_result, warn
from wheelyard.cli.program import command_line, reason_text
from wheelyard.errors import WheelyardError
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.public_packages import (
    Decision,
    DecisionSummary,
    ExplainedFile,
    Explanation,
    ProjectDecisions,
    Verdict,
    decisions_about,
    describe_for_approvers,
)
from wheelyard.upstream.lock_files import LockedFiles, read_lock_files

VERSION: Final = Argument(["version"], required=False)
MAX_FILES: Final = 30_000
"""The most files that are approved by one request, whose body has at most 8 MiB."""
INCOMPLETE_STATUS: Final = 3
"""The exit status if something that a lock file lists stays blocked."""


@cli_command(
    "approve",
    Argument(["project"], required=False),
    VERSION,
    Option(
        ["-r", "--requirement", "paths"],
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE",
        help="A pylock.toml; - for standard input; may be given again.",
    ),
    Option(["--unblock"], is_flag=True, help="-r: approve also what is blocked."),
    Option(
        ["--dry-run"], is_flag=True, help="-r: say what would be approved, and approve nothing."
    ),
    Option(
        ["--despite"],
        multiple=True,
        metavar="RULE",
        help=(
            "Also lift this rule: licence, snapshot, cooldown; with VERSION vulnerable or "
            "malicious."
        ),
    ),
    Option(
        ["--sha256"],
        multiple=True,
        metavar="DIGEST",
        help="Approve the file of VERSION with this digest, and ask no upstream index; repeatable.",
    ),
    shared_options.REASON,
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard upstream approve requests 2.32.5 --reason 'security fix'",
        "wheelyard upstream approve pyside6 6.9.0 --despite licence --reason 'bought'",
        "wheelyard upstream approve -r pylock.toml --reason 'TICKET-7'",
    ),
    page="upstream-policy.md",
)
def approve(
    *,
    project: str | None,
    version: str | None,
    paths: tuple[Path, ...],
    **options: Any,  # noqa: ANN401 - click's
) -> int:
    """
    Let a public PROJECT, one VERSION of it, or all that lock files list, be shown.

    No server has to be restarted. With upstream.approval only what is approved is shown. Approving
    a VERSION is about the files that its upstream index lists now, and prints them: a file that is
    added later is not approved. It also lets them through before their cooldown ends: somebody has
    looked at them.
    Approving a PROJECT is about later files and versions, too. Either takes back an earlier
    'block' of the same, and no block of a single version if it names the whole project.

    With -r it is about exactly the files whose digests the lock files list, version by version, by
    one commit, and no upstream index is asked. What was approved before stays so. Private names
    are left out. What is blocked stays blocked, and is named, and the exit status is 3.
    """
    asked = _Options(**options)
    if paths:
        if project or asked.despite or asked.sha256:
            raise click.UsageError("-r names all of it: leave PROJECT, --despite and --sha256 out.")
        return _approve_locked(paths, asked)
    if project is None:
        raise click.UsageError("Name a PROJECT, or lock files with -r.")
    if asked.unblock or asked.dry_run:
        raise click.UsageError("--unblock and --dry-run go with -r.")
    _approve_one(parse_name(project), parse_version(version) if version else None, asked)
    return 0


class _Options(Struct, frozen=True):
    """The options of `approve` but for `-r`."""

    unblock: bool
    dry_run: bool
    despite: tuple[str, ...]
    sha256: tuple[str, ...]
    reason: str


def _approve_one(name: NormalizedName, wanted: Version | None, asked: _Options) -> None:
    api = open_api()
    approval = Approval(name, str(wanted or ""), asked.reason, asked.despite, asked.sha256)
    decided = api.call(public_package_operations.approve, approval)
    in_force = decisions_about(decided.decisions)
    what = (
        "approved, also files and versions that are added later" if wanted is None else "approved"
    )
    lines = [f"{name} {wanted or ''}".rstrip() + f": {what}"]
    # asked after the decision is in force: what hides a file now is another rule
    explained = None if asked.sha256 else _explanation(api, WhyQuestion(name, approval.version))
    if wanted is not None:
        files = explained.files if explained else ()
        lines += _file_lines(files, in_force.for_version(str(wanted)))
    if asked.sha256:
        command = command_line("upstream", "why", name, str(wanted))
        lines.append(f"no index was asked: {command} says what hides")
    print_result(decided, lines)
    if wanted is None:
        _warn_of_blocked(name, in_force)
    if explained is not None:
        _warn_of_hidden(explained, wanted)


def _approve_locked(paths: tuple[Path, ...], asked: _Options) -> int:
    """Approve what lock files list, and return the exit status."""
    locked = read_lock_files(paths)
    packages = [
        DecidedPackage(name, version, tuple(file.sha256 for file in files))
        for name, listed in locked.projects.items()
        for version, files in groupby(listed, attrgetter("version"))
    ]
    api, answers = open_api(), list[DecisionSummary]()
    for part in in_parts(packages):
        decisions = SeveralDecisions(
            verdict=Verdict.APPROVED,
            packages=part,
            reason=asked.reason,
            unblock=asked.unblock,
            dry_run=asked.dry_run,
        )
        answers.append(api.call(public_package_operations.decide, decisions))
    summary = DecisionSummary(
        **{
            field: tuple(dict.fromkeys(chain.from_iterable(map(attrgetter(field), answers))))
            for field in DecisionSummary.__struct_fields__
        }
    )
    foreign = [str(package.place) for package in locked.foreign]
    result = {**asdict(summary), "foreign": foreign, "dry_run": asked.dry_run}
    print_result(result, _summary_lines(locked, summary, dry_run=asked.dry_run))
    for decision in summary.blocked:
        why = f": {decision.reason}" if decision.reason else ""
        warn(f"still blocked: {decision.target}, by {decision.by} on {decision.at:%Y-%m-%d}{why}")
    if summary.blocked:
        warn("--unblock approves also what is blocked")
    return INCOMPLETE_STATUS if summary.blocked else 0


def in_parts(packages: Iterable[DecidedPackage]) -> Iterator[tuple[DecidedPackage, ...]]:
    """Yield the packages in as few parts as a server takes, which is one for nearly every lock."""
    part, files = list[DecidedPackage](), 0
    for package in packages:
        files += len(package.sha256)
        if part and files > MAX_FILES:
            yield tuple(part)
            part, files = [], len(package.sha256)
        part.append(package)
    if part:
        yield tuple(part)


def _summary_lines(
    locked: LockedFiles, summary: DecisionSummary, *, dry_run: bool
) -> Iterator[str]:
    verb = "would be approved" if dry_run else "approved"
    for decision in summary.decided:
        yield f"{decision.target}: {verb}, {counted(len(decision.sha256 or ()), 'file')}"
    for foreign in locked.foreign:
        yield f"left out: {foreign.place} is {foreign.origin}, which no index has"
    for name in summary.private:
        yield f"left out: {name} is private, and never asked for elsewhere"
    yield (
        f"{counted(len(summary.decided), 'version')} {verb}, {len(summary.unchanged)} already, "
        f"{counted(len(summary.private), 'private name')} left out, {len(summary.blocked)} blocked"
    )


@cli_command(
    "block",
    shared_options.PROJECT,
    VERSION,
    shared_options.REASON,
    shared_options.INDEX,
    examples=(
        "wheelyard upstream block leftpad --reason 'taken over'",
        "wheelyard upstream block requests 2.32.0 --reason 'loses cookies'",
    ),
    page="upstream-policy.md",
)
def block(*, project: str, version: str | None, reason: str) -> None:
    """
    Hide a public PROJECT, or one VERSION of it, from every client, also from direct URLs.

    Blocking a whole project takes back the approvals of its versions. 'approve' takes it back.
    """
    name, wanted = parse_name(project), str(parse_version(version)) if version else ""
    open_api().call(public_package_operations.block, Block(name, wanted, reason))
    click.echo(f"{name} {wanted}".rstrip() + ": blocked")


@cli_command(
    "decisions",
    Argument(["project"], required=False),
    Option(["--history"], is_flag=True, help="Every decision ever made, the oldest first."),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard upstream decisions",
        "wheelyard upstream decisions requests",
        "wheelyard upstream decisions --history",
    ),
    page="upstream-policy.md",
)
def decisions(project: str | None, *, history: bool) -> None:
    """Print what was approved and blocked, of every PROJECT or of one: when, by whom, what, why."""
    api, name = open_api(), parse_name(project) if project else None
    if history:
        commits = api.call(public_package_operations.decision_history, After()).commits
        all_decisions = tuple(decision for commit in commits for decision in commit.events)
    else:
        all_decisions = api.call(public_package_operations.list_decisions).decisions
    wanted = [decision for decision in all_decisions if name in (None, decision.project)]
    words = map(describe_for_approvers, wanted)
    print_result({"decisions": wanted}, history_lines(api, wanted, words))


def _explanation(api: Api, question: WhyQuestion) -> Explanation | None:
    """Return what clients get now, or None if it is not known, as without the server's rules."""
    with suppress(WheelyardError):
        return api.call(explain_project, question)
    return None


def _file_lines(files: Sequence[ExplainedFile], approval: Decision | None) -> Iterator[str]:
    """Yield the digests that were approved, with the filenames as far as they are known."""
    names = {file.sha256: file.filename for file in files}
    for digest in (approval.sha256 or ()) if approval else ():
        filename = f"{names[digest]}  " if digest in names else ""
        yield f"  {filename}sha256:{digest}"


def _warn_of_blocked(name: NormalizedName, in_force: ProjectDecisions) -> None:
    decisions = in_force.versions.values()
    blocked = [decision.version for decision in decisions if decision.verdict is Verdict.BLOCKED]
    if blocked:
        warn(f"still blocked, until they are approved by name: {name} {', '.join(blocked)}")


def _has_format_reason(file: ExplainedFile) -> bool:
    return any(reason.code == "format" for reason in file.reasons)


def _warn_of_hidden(explained: Explanation, version: Version | None) -> None:
    """Print what hides a version all the same, or how much of a project."""
    # no rule hides a file in another format
    files = [file for file in explained.files if not _has_format_reason(file)]
    hidden = [file for file in files if not file.shown]
    if version is None and hidden:
        codes = ", ".join(sorted({reason.code for file in hidden for reason in file.reasons}))
        warn(
            f"still hidden: {len(hidden)} of {counted(len(files), 'file')} ({codes}); "
            f"{command_line('upstream', 'why', explained.name)} says more"
        )
        return
    reasons = [reason for file in hidden for reason in file.reasons]
    for text in dict.fromkeys(map(reason_text, (*reasons, *explained.reasons))):
        warn(f"still hidden: {text}")
