"""`wheelyard list`: print the projects of a store, or the files of one project."""

from collections.abc import Sequence

import click
from msgspec.json import encode
from msgspec.structs import asdict

from wheelyard.api.projects import (
    FileAnswer,
    ProjectAnswer,
    ProjectsQuery,
    get_project,
    list_projects,
)
from wheelyard.cli.api import Api, managed_options, open_api, token_names
from wheelyard.cli.help_text import examples
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.principals import with_name
from wheelyard.model.project_json import FileJson, ProjectJson
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
    api = open_api()
    if project is None:
        found = api.call(list_projects, ProjectsQuery()).projects
        lines = (encode({"projects": found}),) if as_json else [escaped(one.name) for one in found]
    else:
        shown = api.call(get_project, parse_name(project))
        status, reason = shown.status.status.value, escaped(shown.status.reason)
        if status != "active" and not as_json:
            because = f": {reason}" if reason else ""
            click.echo(f"wheelyard: {escaped(shown.name)} is {status}{because}", err=True)
        lines = (encode(_described(shown)),) if as_json else _lines(shown.files, api)
    for line in lines:
        click.echo(line)


def _described(project: ProjectAnswer) -> ProjectJson:
    return ProjectJson(
        name=project.name,
        revision=project.revision,
        status=project.status.status,
        reason=project.status.reason,
        summary=project.summary,
        files=tuple(
            FileJson(**{**asdict(file), "yanked": _why_yanked(file)}) for file in project.files
        ),
        deleted_filenames=project.deleted,
        commit=project.commit,
    )


def _why_yanked(file: FileAnswer) -> str | None:
    """Return the reason why a file is yanked, which may be empty; None if it is not."""
    return "" if file.yanked is True else file.yanked or None


def _lines(files: Sequence[FileAnswer], api: Api) -> list[str]:
    # older versions did not store the names
    unnamed = {file.uploaded_by for file in files if not file.uploaded_by_name}
    names = token_names(api, unnamed)
    return [_line(file, file.uploaded_by_name or names.get(file.uploaded_by, "")) for file in files]


def _line(file: FileAnswer, uploader_name: str) -> str:
    uploader = escaped(with_name(file.uploaded_by, uploader_name))
    when = file.uploaded_at.strftime("%Y-%m-%d %H:%M")
    why = _why_yanked(file)
    yanked = "" if why is None else f"\tyanked{f': {escaped(why)}' if why else ''}"
    return f"{escaped(file.filename)}\t{file.size}\t{when}\t{uploader}{yanked}"
