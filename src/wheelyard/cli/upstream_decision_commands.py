"""`wheelyard upstream approve`, `block` and `decisions`: decisions about public packages."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
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
    approve_options = _ApproveOptions(**options)
    if paths:
        if project or approve_options.despite or approve_options.sha256:
            raise click.UsageError("-r names all of it: leave PROJECT, --despite and --sha256 out.")
        return _approve_locked(paths, approve_options)
    if project is None:
        raise click.UsageError("Name a PROJECT, or lock files with -r.")
    if approve_options.unblock or approve_options.dry_run:
        raise click.UsageError("--unblock and --dry-run go with -r.")
    name = parse_name(project)
    parsed_version = parse_version(version) if version else None
    _approve_project(name, parsed_version, approve_options)
    return 0


class _ApproveOptions(Struct, frozen=True):
    """The options of `approve` but for `-r`."""

    unblock: bool
    dry_run: bool
    despite: tuple[str, ...]
    sha256: tuple[str, ...]
    reason: str


def _approve_project(
    name: NormalizedName, version: Version | None, options: _ApproveOptions
) -> None:
    """Approve a project, or one version of it, and print what hides it all the same."""
    api = open_api()
    approval = public_package_operations.Approval(
        name, str(version or ""), options.reason, options.despite, options.sha256
    )
    answer = api.call(public_package_operations.approve, approval)
    in_force = public_packages.decisions_about(answer.decisions)
    explanation = None
    if not options.sha256:
        # asked after the approval is in force, so that another rule hides what is still hidden
        explanation = _explain_now(api, WhyQuestion(name, approval.version))
    if version is None:
        lines = [f"{name}: approved, also files and versions that are added later"]
    else:
        lines = [f"{name} {version}: approved"]
        files = explanation.files if explanation else ()
        lines += _file_lines(files, in_force.for_version(str(version)))
    if options.sha256:
        command = command_line("upstream", "why", name, str(version))
        lines.append(f"no index was asked: {command} says what hides")
    print_result(answer, lines)
    if version is None:
        _warn_of_blocked(name, in_force)
    if explanation is not None:
        _warn_of_hidden(explanation, version)


def _approve_locked(paths: tuple[Path, ...], options: _ApproveOptions) -> int:
    """Approve what lock files list, and return the exit status."""
    locked = read_lock_files(paths)
    api = open_api()
    answers = list[public_packages.DecisionSummary]()
    for part in split_packages(_locked_packages(locked)):
        decisions = public_package_operations.SeveralDecisions(
            verdict=public_packages.Verdict.APPROVED,
            packages=part,
            reason=options.reason,
            unblock=options.unblock,
            dry_run=options.dry_run,
        )
        answers.append(api.call(public_package_operations.decide, decisions))
    summary = _merge_summaries(answers)
    result: dict[str, object] = asdict(summary)
    result["foreign"] = [str(package.place) for package in locked.foreign]
    result["dry_run"] = options.dry_run
    print_result(result, _summary_lines(locked, summary, dry_run=options.dry_run))
    for decision in summary.blocked:
        reason = f": {decision.reason}" if decision.reason else ""
        warn(
            f"still blocked: {decision.target}, by {decision.by} on {decision.at:%Y-%m-%d}{reason}"
        )
    if summary.blocked:
        warn("--unblock approves also what is blocked")
        return INCOMPLETE_STATUS
    return 0


def _locked_packages(locked: LockedFiles) -> Iterator[public_package_operations.DecidedPackage]:
    """Yield each version that lock files list, with the digests of its files."""
    for name, files_of_project in locked.projects.items():
        # files of one version are neighbours, as they are sorted by version
        for version, files in groupby(files_of_project, attrgetter("version")):
            digests = tuple(file.sha256 for file in files)
            yield public_package_operations.DecidedPackage(name, version, digests)


def _merge_summaries(
    answers: Sequence[public_packages.DecisionSummary],
) -> public_packages.DecisionSummary:
    """Return one summary of several, in which each decision and each name is there once."""
    fields = dict[str, Any]()
    for name in public_packages.DecisionSummary.__struct_fields__:
        values = list[object]()
        for answer in answers:
            values += getattr(answer, name)
        fields[name] = tuple(dict.fromkeys(values))
    return public_packages.DecisionSummary(**fields)


def split_packages(
    packages: Iterable[public_package_operations.DecidedPackage],
) -> Iterator[tuple[public_package_operations.DecidedPackage, ...]]:
    """Yield the packages in parts that a server takes, which is one part for nearly every lock."""
    part = list[public_package_operations.DecidedPackage]()
    file_count = 0
    for package in packages:
        file_count += len(package.sha256)
        if part and file_count > MAX_FILES:
            yield tuple(part)
            part = []
            file_count = len(package.sha256)
        part.append(package)
    if part:
        yield tuple(part)


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
    listed_decisions = list[public_packages.Decision]()
    if history:
        for commit in api.call(public_package_operations.decision_history, After()).commits:
            listed_decisions += commit.events
    else:
        listed_decisions += api.call(public_package_operations.list_decisions).decisions
    if name is not None:
        listed_decisions = [decision for decision in listed_decisions if decision.project == name]
    descriptions = map(public_packages.describe_for_approvers, listed_decisions)
    print_result(
        {"decisions": listed_decisions}, history_lines(api, listed_decisions, descriptions)
    )


def _explain_now(api: Api, question: WhyQuestion) -> public_packages.Explanation | None:
    """Return what clients get now, or None if an error keeps this process from knowing it."""
    with suppress(WheelyardError):
        return api.call(explain_project, question)
    return None


def _file_lines(
    files: Sequence[public_packages.ExplainedFile], approval: public_packages.Decision | None
) -> Iterator[str]:
    """Yield the digests that were approved, with their filenames if these are known."""
    if approval is None or approval.sha256 is None:
        return
    names = {file.sha256: file.filename for file in files}
    for digest in approval.sha256:
        filename = f"{names[digest]}  " if digest in names else ""
        yield f"  {filename}sha256:{digest}"


def _warn_of_blocked(name: NormalizedName, in_force: public_packages.ProjectDecisions) -> None:
    """Warn of versions of an approved project that are blocked by decisions of their own."""
    verdict = public_packages.Verdict.BLOCKED
    decisions_of_versions = in_force.versions.values()
    blocked_versions = [
        decision.version for decision in decisions_of_versions if decision.verdict is verdict
    ]
    if blocked_versions:
        warn(
            f"still blocked, until they are approved by name: {name} {', '.join(blocked_versions)}"
        )


def _has_format_reason(file: public_packages.ExplainedFile) -> bool:
    """Return whether a file is left out for its format, and not by a rule."""
    return any(reason.code == "format" for reason in file.reasons)


def _warn_of_hidden(explanation: public_packages.Explanation, version: Version | None) -> None:
    """Warn of the reasons that still hide a version, or of the hidden files of a project."""
    # without files of other formats, which no rule hides
    files = [file for file in explanation.files if not _has_format_reason(file)]
    hidden = [file for file in files if not file.shown]
    reasons = list[public_packages.FileReason]()
    for file in hidden:
        reasons += file.reasons
    if version is None and hidden:
        # only the codes, as a project may have thousands of hidden files
        codes = ", ".join(sorted({reason.code for reason in reasons}))
        warn(
            f"still hidden: {len(hidden)} of {counted(len(files), 'file')} ({codes}); "
            f"{command_line('upstream', 'why', explanation.name)} says more"
        )
        return
    reasons += explanation.reasons
    # many files have the same reason
    for text in dict.fromkeys(map(reason_text, reasons)):
        warn(f"still hidden: {text}")
