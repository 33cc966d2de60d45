"""`wheelyard list`: what is in the store."""

from pathlib import Path

import click
from msgspec.json import encode

from wheelyard.cli.common import existing_index, store_options
from wheelyard.index import Index
from wheelyard.model.distribution import parse_name
from wheelyard.model.project import File, Project
from wheelyard.model.text import escaped


@click.command("list")
@click.argument("project", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@store_options
def command(
    project: str | None,
    as_json: bool,  # noqa: FBT001 - click passes it by name
    store: str | None,
    config: Path | None,
) -> None:
    """List the projects, or the files of PROJECT."""
    index = existing_index(store, config)
    if project is None:
        _list_projects(index, as_json=as_json)
    else:
        _list_files(index.projects.get(parse_name(project)), as_json=as_json)


def _list_projects(index: Index, *, as_json: bool) -> None:
    known = index.projects.names.get().value
    names = known.names if known else ()
    if as_json:
        click.echo(encode({"projects": [{"name": name} for name in names]}))
        return
    for name in names:
        click.echo(name)


def _list_files(project: Project, *, as_json: bool) -> None:
    if as_json:
        click.echo(encode(project))
        return
    if project.status.value != "active":
        reason = f": {escaped(project.reason)}" if project.reason else ""
        click.echo(f"wheelyard: {project.name} is {project.status.value}{reason}", err=True)
    for file in project.files:
        click.echo(_line(file))


def _line(file: File) -> str:
    when = file.uploaded_at.strftime("%Y-%m-%d %H:%M")
    reason = f": {escaped(file.yanked)}" if file.yanked else ""
    yanked = "" if file.yanked is None else f"\tyanked{reason}"
    return f"{file.filename}\t{file.size}\t{when}\t{escaped(file.uploaded_by)}{yanked}"
