"""`wheelyard list`: print the projects of a store, or the files of one project."""

from collections.abc import Sequence

import click
from msgspec.json import encode

from wheelyard.cli.help_text import examples
from wheelyard.cli.managed_index import ManagedIndex, managed_index, managed_options, token_names
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.principals import with_name
from wheelyard.model.project import File
from wheelyard.model.project_json import ProjectJson
from wheelyard.model.text import escaped


@examples(
    "projects.md",
    "wheelyard list",
    "wheelyard list acme-core",
    "wheelyard list acme-core --server https://packages.acme.dev",
)
@click.command("list")
@click.argument("project", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def command(project: str | None, *, as_json: bool) -> None:
    """List the projects, or the files of PROJECT."""
    index = managed_index()
    if project is None:
        names = index.names()
        found: object = {"projects": [{"name": name} for name in names]}
        lines = [escaped(name) for name in names]
    else:
        one = index.project(parse_name(project))
        found = ProjectJson.of(one)
        lines = _lines(one.files, index)
        if one.status.value != "active" and not as_json:
            reason = f": {escaped(one.reason)}" if one.reason else ""
            click.echo(f"wheelyard: {escaped(one.name)} is {one.status.value}{reason}", err=True)
    for line in (encode(found),) if as_json else lines:
        click.echo(line)


def _lines(files: Sequence[File], index: ManagedIndex) -> list[str]:
    # older versions did not store the names
    unnamed = {file.uploaded_by for file in files if not file.uploaded_by_name}
    names = token_names(index, unnamed)
    return [_line(file, file.uploaded_by_name or names.get(file.uploaded_by, "")) for file in files]


def _line(file: File, uploader_name: str) -> str:
    uploader = escaped(with_name(file.uploaded_by, uploader_name))
    when = file.uploaded_at.strftime("%Y-%m-%d %H:%M")
    reason = f": {escaped(file.yanked)}" if file.yanked else ""
    yanked = "" if file.yanked is None else f"\tyanked{reason}"
    return f"{escaped(file.filename)}\t{file.size}\t{when}\t{uploader}{yanked}"
