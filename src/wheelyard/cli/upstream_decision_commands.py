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
from wheelyard.api.why_operations import WhyQuestion, explain_project
from wheelyard.cli import shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.history import history_lines
from wheelyard.cli.output import print_result, warn
from wheelyard.cli.program import command_line, reason_text
from wheelyard.errors import WheelyardError
from wheelyard.model import public_packages
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import parse_name, parse_version
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
    given = _Options(**options)
    if paths:
        if project or given.despite or given.sha256:
            raise click.UsageError("-r names all of it: leave PROJECT, --despite and --sha256 out.")
        return _approve_locked(paths, given)
    if project is None:
        raise click.UsageError("Name a PROJECT, or lock files with -r.")
    if given.unblock or given.dry_run:
        raise click.UsageError("--unblock and --dry-run go with -r.")
    name = parse_name(project)
    parsed_version = parse_version(version) if version else None
    _approve_project(name, parsed_version, given)
    return 0


class _Options(Struct, frozen=True):
    """The options of `approve` but for `-r`."""

    unblock: bool
    dry_run: bool
    despite: tuple[str, ...]
    sha256: tuple[str, ...]
    reason: str


def _approve_project(name: NormalizedName, version: Version | None, given: _Options) -> None:
    """Approve a project, or one version of it, and print what hides it all the same."""
    api = open_api()
    approval = public_package_operations.Approval(
        name, str(version or ""), given.reason, given.despite, given.sha256
    )
    decided = api.call(public_package_operations.approve, approval)
    in_force = public_packages.decisions_about(decided.decisions)
    explained = None
    if not given.sha256:
        # asked after the decision is in force: what hides a file now is another rule
        explained = _explanation(api, WhyQuestion(name, approval.version))
    if version is None:
        lines = [f"{name}: approved, also files and versions that are added later"]
    else:
        lines = [f"{name} {version}: approved"]
        files = explained.files if explained else ()
        lines += _file_lines(files, in_force.for_version(str(version)))
    if given.sha256:
        command = command_line("upstream", "why", name, str(version))
        lines.append(f"no index was asked: {command} says what hides")
    print_result(decided, lines)
    if version is None:
        _warn_of_blocked(name, in_force)
    if explained is not None:
        _warn_of_hidden(explained, version)


def _approve_locked(paths: tuple[Path, ...], given: _Options) -> int:
    """Approve what lock files list, and return the exit status."""
    locked = read_lock_files(paths)
    packages = []
    for name, listed in locked.projects.items():
        # the files of a project are in the order of their versions
        for version, files in groupby(listed, attrgetter("version")):
            digests = tuple(file.sha256 for file in files)
            packages.append(public_package_operations.DecidedPackage(name, version, digests))
    api = open_api()
    answers = list[public_packages.DecisionSummary]()
    for group in in_parts(packages):
        decisions = public_package_operations.SeveralDecisions(
            verdict=public_packages.Verdict.APPROVED,
            packages=group,
            reason=given.reason,
            unblock=given.unblock,
            dry_run=given.dry_run,
        )
        answers.append(api.call(public_package_operations.decide, decisions))
    summary = _joined(answers)
    result: dict[str, object] = asdict(summary)
    result["foreign"] = [str(package.place) for package in locked.foreign]
    result["dry_run"] = given.dry_run
    print_result(result, _summary_lines(locked, summary, dry_run=given.dry_run))
    for decision in summary.blocked:
        why = f": {decision.reason}" if decision.reason else ""
        warn(f"still blocked: {decision.target}, by {decision.by} on {decision.at:%Y-%m-%d}{why}")
    if summary.blocked:
        warn("--unblock approves also what is blocked")
        return INCOMPLETE_STATUS
    return 0


def _joined(answers: Sequence[public_packages.DecisionSummary]) -> public_packages.DecisionSummary:
    """Return what several requests have decided, each thing once."""
    fields = dict[str, Any]()
    for name in public_packages.DecisionSummary.__struct_fields__:
        values = chain.from_iterable(getattr(answer, name) for answer in answers)
        fields[name] = tuple(dict.fromkeys(values))
    return public_packages.DecisionSummary(**fields)


def in_parts(
    packages: Iterable[public_package_operations.DecidedPackage],
) -> Iterator[tuple[public_package_operations.DecidedPackage, ...]]:
    """Yield the packages in as few parts as a server takes, which is one for nearly every lock."""
    group = list[public_package_operations.DecidedPackage]()
    files = 0
    for package in packages:
        files += len(package.sha256)
        if group and files > MAX_FILES:
            yield tuple(group)
            group = []
            files = len(package.sha256)
        group.append(package)
    if group:
        yield tuple(group)


def _summary_lines(
    locked: LockedFiles, summary: public_packages.DecisionSummary, *, dry_run: bool
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
    name = parse_name(project)
    version_text = str(parse_version(version)) if version else ""
    block = public_package_operations.Block(name, version_text, reason)
    open_api().call(public_package_operations.block, block)
    target = f"{name} {version_text}".rstrip()
    click.echo(f"{target}: blocked")


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
    api = open_api()
    name = parse_name(project) if project else None
    decided = list[public_packages.Decision]()
    if history:
        for commit in api.call(public_package_operations.decision_history, After()).commits:
            decided += commit.events
    else:
        decided += api.call(public_package_operations.list_decisions).decisions
    if name is not None:
        decided = [decision for decision in decided if decision.project == name]
    words = map(public_packages.describe_for_approvers, decided)
    print_result({"decisions": decided}, history_lines(api, decided, words))


def _explanation(api: Api, question: WhyQuestion) -> public_packages.Explanation | None:
    """Return what clients get now, or None if it is not known, as without the server's rules."""
    with suppress(WheelyardError):
        return api.call(explain_project, question)
    return None


def _file_lines(
    files: Sequence[public_packages.ExplainedFile], approval: public_packages.Decision | None
) -> Iterator[str]:
    """Yield the digests that were approved, with the filenames as far as they are known."""
    if approval is None or approval.sha256 is None:
        return
    names = {file.sha256: file.filename for file in files}
    for digest in approval.sha256:
        filename = f"{names[digest]}  " if digest in names else ""
        yield f"  {filename}sha256:{digest}"


def _warn_of_blocked(name: NormalizedName, in_force: public_packages.ProjectDecisions) -> None:
    verdict = public_packages.Verdict.BLOCKED
    decided = in_force.versions.values()
    blocked = [decision.version for decision in decided if decision.verdict is verdict]
    if blocked:
        warn(f"still blocked, until they are approved by name: {name} {', '.join(blocked)}")


def _has_format_reason(file: public_packages.ExplainedFile) -> bool:
    return any(reason.code == "format" for reason in file.reasons)


def _warn_of_hidden(explained: public_packages.Explanation, version: Version | None) -> None:
    """Print what hides a version all the same, or how much of a project."""
    # no rule hides a file in another format
    files = [file for file in explained.files if not _has_format_reason(file)]
    hidden = [file for file in files if not file.shown]
    reasons = list[public_packages.FileReason]()
    for file in hidden:
        reasons += file.reasons
    if version is None and hidden:
        # a project may have thousands of hidden files
        codes = ", ".join(sorted({reason.code for reason in reasons}))
        warn(
            f"still hidden: {len(hidden)} of {counted(len(files), 'file')} ({codes}); "
            f"{command_line('upstream', 'why', explained.name)} says more"
        )
        return
    reasons += explained.reasons
    # many files have the same reason
    for text in dict.fromkeys(map(reason_text, reasons)):
        warn(f"still hidden: {text}")
