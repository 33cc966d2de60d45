"""`wheelyard serve`: say where the index is and how to use it, then run it."""

import logging
from dataclasses import dataclass
from typing import Any

import click
from msgspec.structs import replace

from wheelyard.cli.common import open_or_make_index, settings_from, store_options
from wheelyard.cli.introduction import introduce
from wheelyard.cli.pypiserver import access_options, access_overrides
from wheelyard.cli.warnings import settle
from wheelyard.errors import IndexFault, Invalid
from wheelyard.http.logs import configure_logging
from wheelyard.http.observing import require_telemetry
from wheelyard.http.server import place_to_listen, run_server
from wheelyard.index import Index, open_index
from wheelyard.settings.sections import Settings

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchWish:
    """
    What is imported while the index is served.

    Args:
        places: Folders and buckets.
        lenient: Whether files are taken that fail only today's stricter rules.
        every: Seconds from one look to the next; None stands for the usual.
        comes_first: Whether what is in the folders now is there before the server answers.
    """

    places: tuple[str, ...] = ()
    lenient: bool = False
    every: float | None = None
    comes_first: bool = False


@click.command("serve")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: $PORT, else 8080]")
@click.option("--workers", type=int, help="Processes.  [default: 1]")
@click.option("--private", is_flag=True, default=None, help="Reading needs a credential, too.")
@click.option(
    "--watch",
    "places",
    multiple=True,
    metavar="PLACE",
    help="Import what is and what appears in a folder, or gs://BUCKET/PREFIX.",
)
@click.option(
    "--watch-every",
    "every",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="How often to look there.  [default: 2, and 60 for a bucket]",
)
@click.option("--lenient", is_flag=True, help="--watch: old files that fail only today's rules.")
@access_options
@store_options
def command(**options: Any) -> None:  # noqa: ANN401 - click's; each goes where it is parsed
    """Run the index."""
    if not options["places"] and (options["lenient"] or options["every"]):
        raise click.UsageError("--lenient and --watch-every go with --watch.")
    access = access_overrides(options["passwords"], options["actions"], i_know=options["i_know"])
    if options["private"]:
        access["private"] = True
    server = {name: options[name] for name in ("host", "port", "workers")}
    overrides = {"server": server, "access": access}
    settings = settings_from(options["store"], options["config"], overrides)
    start(settings, WatchWish(**{name: options[name] for name in ("places", "lenient", "every")}))


def start(settings: Settings, wish: WatchWish) -> None:
    """
    Serve until a signal ends it.

    Args:
        settings: What to serve, and where.
        wish: What is imported besides.

    Raises:
        Invalid: A setting or a place makes no sense, or the port cannot be had.
        Unavailable: The store does not answer.
    """
    require_telemetry(settings)
    settings = replace(settings, server=place_to_listen(settings.server))
    is_json = settings.log.format == "json"
    if is_json:  # whoever reads the log reads JSON, from its first line
        configure_logging(settings.log)
    settle(in_log=is_json)
    try:
        _serve(settings, wish)
    except IndexFault as fault:
        if not is_json:
            raise
        logger.critical("%s", fault.message)
        raise SystemExit(1) from fault


def _serve(settings: Settings, wish: WatchWish) -> None:
    if settings.server.read_only and wish.places:
        raise Invalid(
            "[server] read_only: a server that only reads imports nothing. Leave the setting out, "
            "or --watch.",
            code="bad_setting",
        )
    index = _opened(settings)
    if not wish.places:
        introduce(index)
        run_server(settings, index)
        return
    # not for everybody who serves: it needs what reads archives
    from wheelyard.cli.watching import open_lookouts

    lookouts = open_lookouts(index, wish)
    if wish.comes_first:
        lookouts.import_first()
    introduce(index)
    configure_logging(settings.log)
    lookouts.begin()
    run_server(settings, index, lookouts.end)


def _opened(settings: Settings) -> Index:
    """Return the index; one that is only read has to be there already."""
    if settings.server.read_only:
        return open_index(settings, create=False)
    return open_or_make_index(settings)
