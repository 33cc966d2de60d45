"""`wheelyard upstream why`: what clients get for a public package, and why not the rest."""

from collections.abc import Iterator
from itertools import groupby

import click
from msgspec.json import encode

from wheelyard.api.public_packages import PackageQuestion, explain_package
from wheelyard.cli.api import managed_options, open_api
from wheelyard.cli.help_text import examples
from wheelyard.model.decisions import describe
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.public_packages import ExplainedFile, Explanation
from wheelyard.model.text import counted, escaped


@examples(
    "upstream.md",
    "wheelyard upstream why requests 2.32.6",
    "wheelyard upstream why requests --json",
    "wheelyard upstream why requests --server https://packages.acme.dev",
)
@click.command("why")
@click.argument("project")
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def why(*, project: str, version: str | None, as_json: bool) -> int:
    """
    Print what clients get for PROJECT, or for one VERSION of it, and why not the rest.

    It asks the upstream index as a client would, and no upstream index for a private name. Exit
    status 0 if some file is shown, 1 if none is.
    """
    question = PackageQuestion(parse_name(project), version or "")
    found = open_api().call(explain_package, question)
    if as_json:
        click.echo(encode(found))
    else:
        for line in _lines(found, version or ""):
            click.echo(escaped(line))
    return 0 if any(each.shown for each in found.files) else 1


def _lines(found: Explanation, version: str) -> Iterator[str]:
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
            f"  files of the host {host} are left out: [upstream] file_hosts lacks it, or their "
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
