"""`wheelyard list`: print the projects of a store, or the files of one project."""

import click
from msgspec.json import encode

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import existing_index, store_options
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.project import File
from wheelyard.model.text import escaped


@examples(
    "projects.md",
    "wheelyard list",
    "wheelyard list acme-core",
    "wheelyard list acme-core --json",
)
@click.command("list")
@click.argument("project", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@store_options
def command(project: str | None, *, as_json: bool) -> None:
    """List the projects, or the files of PROJECT."""
    index = existing_index()
    if project is None:
        known = index.projects.names.get().value
        names = known.names if known else ()
        found: object = {"projects": [{"name": name} for name in names]}
        lines = list[str](names)
    else:
        found = one = index.projects.get(parse_name(project))
        lines = [_line(file) for file in one.files]
        if one.status.value != "active" and not as_json:
            reason = f": {escaped(one.reason)}" if one.reason else ""
            click.echo(f"wheelyard: {one.name} is {one.status.value}{reason}", err=True)
    for line in (encode(found),) if as_json else lines:
        click.echo(line)


def _line(file: File) -> str:
    when = file.uploaded_at.strftime("%Y-%m-%d %H:%M")
    reason = f": {escaped(file.yanked)}" if file.yanked else ""
    yanked = "" if file.yanked is None else f"\tyanked{reason}"
    return f"{file.filename}\t{file.size}\t{when}\t{escaped(file.uploaded_by)}{yanked}"
