"""`wheelyard run`: `serve` with the command line of pypiserver, and its folders of packages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from wheelyard.cli.common import reading_from, settings_from, store_options_with
from wheelyard.cli.pypiserver import (
    access_options,
    access_overrides,
    ignored_options,
    warn_of_ignored,
)
from wheelyard.cli.serve import WatchWish, start
from wheelyard.errors import Invalid
from wheelyard.model.text import escaped
from wheelyard.settings.reading import process_environment

STORE: Final = ".wheelyard"
"""The store inside the first folder of packages, which is hidden from a look for packages."""
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what pypiserver does, and people expect in a container
MAY_MANAGE: Final[Mapping[str, object]] = {"htpasswd_may_manage": True}
"""With pypiserver, whoever may publish may also remove what was published."""
PORT_VARIABLE: Final = "PYPISERVER_PORT"
"""How pypiserver's image is told of its port."""


@click.command("run")
@click.argument("folders", nargs=-1, metavar="[DIR]...", type=click.Path(path_type=Path))
@click.option("-p", "--port", type=int, help="Port to listen on.  [default: $PORT, else 8080]")
@click.option(
    "-i",
    "-H",
    "--interface",
    "--host",
    "host",
    help="Address to listen on.  [default: 0.0.0.0, which is every address]",
)
@click.option("--workers", type=int, help="Processes.  [default: 1]")
@click.option("--lenient", is_flag=True, help="Take old files that fail only today's rules.")
@access_options
@ignored_options
@store_options_with("$WHEELYARD_STORE, else DIR/.wheelyard")
def command(folders: tuple[Path, ...], **options: Any) -> None:  # noqa: ANN401 - click's
    """
    Import the packages in DIR, and run the index: with the command line of pypiserver.

    What appears in DIR later is imported, too.

    DIR is ~/packages unless given, and the store is DIR/.wheelyard unless --store says otherwise.
    """
    packages = tuple(each.expanduser() for each in folders or (Path("~/packages"),))
    for folder in packages:
        _require_folder(folder)
    warn_of_ignored(options)
    access = access_overrides(options["passwords"], options["actions"], i_know=options["i_know"])
    server = {name: options[name] for name in ("host", "port", "workers")}
    overrides = {"server": server, "access": access}
    defaults = _defaults(packages[0])
    said = reading_from(options["store"], options["config"], overrides, defaults).settings
    # else it would count for nothing, and be warned about
    if said.access.htpasswd_file and not said.grant:
        defaults = {**defaults, "access": MAY_MANAGE}
    settings = settings_from(options["store"], options["config"], overrides, defaults)
    places = tuple(str(folder) for folder in packages)
    start(settings, WatchWish(places=places, lenient=options["lenient"], comes_first=True))


def _defaults(folder: Path) -> Mapping[str, Mapping[str, object]]:
    server: dict[str, object] = {"host": EVERYWHERE}
    if port := process_environment().get(PORT_VARIABLE):
        server["port"] = port
    return {
        "server": server,
        "store": {"location": str(folder / STORE)},
    }


def _require_folder(folder: Path) -> None:
    """
    Return if there is a folder to import from: a typing error must not become an empty index.

    Raises:
        Invalid: There is none.
    """
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        raise Invalid(
            f"The folder {escaped(str(folder))} cannot be read: {error.strerror}. Name one that is "
            "there, with packages in it or without.",
            code="bad_setting",
        ) from error
