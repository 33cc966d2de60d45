"""`wheelyard serve`: say where the index is and how to use it, then run it."""

from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from wheelyard.cli.common import open_or_make_index, settings_from, store_options
from wheelyard.cli.introduction import introduce
from wheelyard.cli.pypiserver import access_options, access_overrides
from wheelyard.http.server import check_port, check_workers, run_server
from wheelyard.settings.sections import Settings


@click.command("serve")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: $PORT, else 8080]")
@click.option("--workers", type=int, help="Processes.  [default: 1]")
@click.option("--private", is_flag=True, default=None, help="Reading needs a credential, too.")
@access_options
@store_options
def command(**options: Any) -> None:  # noqa: ANN401 - click's; each goes where it is parsed
    """Run the index."""
    access = access_overrides(options["passwords"], options["actions"], i_know=options["i_know"])
    if options["private"]:
        access["private"] = True
    server = {name: options[name] for name in ("host", "port", "workers")}
    overrides = {"server": server, "access": access}
    start(settings_from(options["store"], options["config"], overrides))


def start(settings: Settings, packages: tuple[Path, ...] = ()) -> None:
    """
    Serve until a signal ends it.

    Args:
        settings: What to serve, and where.
        packages: Folders whose packages are imported before.

    Raises:
        Invalid: A setting makes no sense, or the port cannot be had.
        Unavailable: The store does not answer.
    """
    check_workers(settings)
    server = replace(settings.server, port=check_port(settings.server))
    settings = replace(settings, server=server)
    index = open_or_make_index(settings)
    if packages:
        # not for everybody who serves: it needs what reads archives
        from wheelyard.cli.importing import import_folders

        import_folders(index, packages)
    introduce(index)
    run_server(settings, index)
