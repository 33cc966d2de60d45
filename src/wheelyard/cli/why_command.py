"""`wheelyard why`: what clients get for a project, and why not the rest."""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

from click import DateTime, Option
from packaging.version import Version

from wheelyard.api.why_operations import WhyQuestion, explain_project
from wheelyard.cli import shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.output import print_result
from wheelyard.cli.program import reason_text, this_terminal
from wheelyard.cli.quantities import describe_age
from wheelyard.cli.upstream_decision_commands import VERSION
from wheelyard.model import public_packages
from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.remedies import Advice, Remedy


@cli_command(
    "why",
    shared_options.PROJECT,
    VERSION,
    Option(
        ["--as-of"],
        type=DateTime(["%Y-%m-%d"]),
        metavar="DATE",
        help="What clients get from the index as of this day, which ends at midnight UTC.",
    ),
    shared_options.JSON,
    shared_options.PACKAGES,
    examples=(
        "wheelyard why requests 2.32.6",
        "wheelyard why acme-core --index stable --as-of 2026-01-01",
        "wheelyard why requests --json --server https://packages.acme.dev",
    ),
    page="rules.md",
)
def why_command(*, project: str, version: str | None, as_of: datetime | None) -> int:
    """
    Print what clients get for PROJECT, or for one VERSION of it, and why not the rest.

    It asks an upstream index as a client would, and none for a private name. With --index, it is
    about that index, its layers and its rules. Exit status 0 if some file is shown, 1 if none is.
    """
    day = as_of.date() if as_of else None
    return print_explanation(open_api(), WhyQuestion(parse_name(project), version or "", day))


def print_explanation(api: Api, question: WhyQuestion) -> int:
    """
    Print the answer to a question, and return the exit status of the command.

    It is 0 if some file is shown, and 1 if none is.
    """
    explanation = api.call(explain_project, question)
    print_result(explanation, _why_lines(explanation, question.version))
    return int(not any(file.shown for file in explanation.files))


def _why_lines(explanation: public_packages.Explanation, version: str) -> Iterator[str]:
    yield f"{explanation.name}: {explanation.answer}"
    yield from (f"  {reason_text(reason)}" for reason in explanation.reasons)
    yield from _page_lines(explanation)
    for decision in explanation.decisions:
        yield f"  {public_packages.describe(decision)}, by {decision.by} on {decision.at:%Y-%m-%d}"
    yield from (f"  warning: {warning}" for warning in explanation.warnings)
    yield from _shown_lines(explanation, version)
    yield from _unused_lines(explanation)
    if explanation.other_indexes:
        names = ", ".join(explanation.other_indexes)
        yield f"  this is about the index main; --index chooses another: {names}"
    if _can_be_approved(explanation):
        advice = Advice(Remedy.REQUEST_PACKAGE, explanation.name, version=version)
        yield f"to ask for it: {this_terminal().commands(advice)[0]}"


def _shown_lines(explanation: public_packages.Explanation, version: str) -> Iterator[str]:
    """Yield how many files are shown, and each file, or that the index or upstream has none."""
    is_private = explanation.answer is public_packages.NameAnswer.PRIVATE
    if not explanation.files and (is_private or explanation.fetched_at is not None):
        subject = "it" if is_private else "the upstream"
        line = f"  {subject} lists no file"
        if explanation.unused_link_count:
            line += " that can be used"
        if version:
            line += f" of version {version}"
        yield line
    if explanation.files:
        shown_count = sum(file.shown for file in explanation.files)
        yield f"  {shown_count} of {counted(len(explanation.files), 'file')} shown"
        yield from _file_lines(explanation.files)


def _can_be_approved(explanation: public_packages.Explanation) -> bool:
    """Return whether nothing of a public package is shown, and an approval would show a file."""
    if explanation.answer is public_packages.NameAnswer.PRIVATE:
        return False
    # nothing of upstream/ is loaded for a private name
    from wheelyard.upstream.decisions import needed_despite

    if any(file.shown for file in explanation.files):
        return False
    # the first reason of a file is the one that an approval has to lift
    reasons = list(explanation.reasons)
    reasons += [file.reasons[0] for file in explanation.files if file.reasons]
    return any(needed_despite(reason.code, "any") is not None for reason in reasons)


def _page_lines(explanation: public_packages.Explanation) -> Iterator[str]:
    """Yield the state of the page of the upstream index, if there is one."""
    if explanation.fetched_at is not None:
        line = (
            f"  page of {explanation.upstream}, {explanation.status}, confirmed "
            f"{describe_age(explanation.age)} ago"
        )
        if explanation.is_stale:
            line += ", stale: it should have been asked again, and has not answered"
        yield line
    for place in explanation.alternate_locations:
        yield f"  alternate location, never followed: {place}"
    for host in explanation.refused_hosts:
        yield (
            f"  files of the host {host} are left out: upstream.file_hosts lacks it, or their "
            "URLs are not allowed"
        )


def _unused_lines(explanation: public_packages.Explanation) -> Iterator[str]:
    """Yield how many links of the page are left out, and the first of these links."""
    links = explanation.unused_links
    count = explanation.unused_link_count
    if count:
        line = f"  {counted(count, 'link')} of the page cannot be used"
        # a page may have thousands of links that lead to no distribution
        if count > len(links):
            line += f", of which these are the first {len(links)}"
        yield f"{line}:"
        for link in links:
            yield f"  {link.filename or 'a link'} {link.why}"


def _file_lines(files: tuple[public_packages.ExplainedFile, ...]) -> Iterator[str]:
    """Yield a line for each file, sorted by version, and the reasons once for equal files."""
    # sorted by the reasons, too, as `groupby` makes groups of neighbours
    sorted_files = sorted(files, key=_version_and_reasons)
    for _, equal_files in groupby(sorted_files, key=_spelled_version_and_reasons):
        file_group = list(equal_files)
        for file in file_group:
            mark = "shown" if file.shown else "hidden"
            yield f"{mark}  {file.filename}"
        for reason in file_group[0].reasons:
            yield f"        {reason.code}: {reason_text(reason)}"


def _version_and_reasons(file: public_packages.ExplainedFile) -> tuple[Version, tuple[str, ...]]:
    """Return the key by which files are sorted."""
    return parse_version(file.version), _reason_texts(file)


def _spelled_version_and_reasons(
    file: public_packages.ExplainedFile,
) -> tuple[str, tuple[str, ...]]:
    """Return what files of one group have in common."""
    return file.version, _reason_texts(file)


def _reason_texts(file: public_packages.ExplainedFile) -> tuple[str, ...]:
    return tuple(reason.text for reason in file.reasons)
