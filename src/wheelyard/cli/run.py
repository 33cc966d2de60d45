"""`wheelyard run`: `serve` with the command line of pypiserver, and its folders of packages."""

from pathlib import Path
from typing import Any, Final

import click
from click import Argument, Option

from wheelyard.cli.command import cli_command
from wheelyard.cli.options import store_options
from wheelyard.cli.output import warn
from wheelyard.cli.serve import ACCESS, WatchOptions, overrides_of, run_index, server_settings
from wheelyard.settings.load import process_environment

STORE_FOLDER: Final = ".wheelyard"
"""The store in the first folder of packages; imports skip hidden folders."""
ALL_INTERFACES: Final = "0.0.0.0"  # noqa: S104 - the default of pypiserver

_IGNORED_OPTIONS: Final = {
    "backend": "the store is what --store names",
    "cache_control": "each reply has the one that is right for it",
    "fallback_url": "no other index is asked or named",
    "hash_algo": "pages always have SHA-256",
    "health_endpoint": "it is /health",
    "log_file": "the log goes to standard error",
    "log_stream": "the log goes to standard error",
    **dict.fromkeys(
        ("log_err_frmt", "log_frmt", "log_req_frmt", "log_res_frmt"),
        "the log has a form of its own",
    ),
    "overwrite": "a published file is never replaced; use a new version",
    "server": "wheelyard has a server of its own; --workers takes more processes",
    "server_base_url": "links are relative; server.path_prefix is what a proxy puts before paths",
    "verbose": "the log has one line for each thing that goes wrong",
    "welcome": "the page at / is our own",
}
"""Options of pypiserver that are accepted and have no effect, with the reason."""
_FLAGS: Final = {"overwrite": ["-o"], "verbose": ["-v"]}


_IGNORED: Final = (
    *(
        Option(
            [f"--{name.replace('_', '-')}", *_FLAGS.get(name, ()), name],
            is_flag=name in _FLAGS,
            default=None,
            hidden=True,
        )
        for name in _IGNORED_OPTIONS
    ),
    Option(["--disable-fallback"], is_flag=True, hidden=True),
)


@cli_command(
    "run",
    Argument(["folders"], nargs=-1, metavar="[DIR]...", type=click.Path(path_type=Path)),
    Option(["-p", "--port"], type=int),
    Option(["-i", "-H", "--interface", "--host", "host"]),
    Option(["--workers"], type=int),
    Option(["--lenient"], is_flag=True),
    *ACCESS,
    *_IGNORED,
    *store_options("$WHEELYARD_STORE, else DIR/.wheelyard"),
)
def run_command(folders: tuple[Path, ...], **options: Any) -> None:  # noqa: ANN401 - click's
    """
    Import the packages in each DIR, and run the index, with the options of pypiserver.

    New files in DIR are imported later, too.

    DIR is ~/packages by default. The store is .wheelyard in the first DIR, unless --store or a
    setting names another.

    Options:
        --port: Port to listen on.  [default: $PORT, else 8080]
        --interface: Address to listen on.  [default: 0.0.0.0, which is every address]
        --workers: Processes.  [default: 1]
        --lenient: Take old files that fail only today's rules.

    Examples:
        wheelyard run ~/packages
        wheelyard run -p 8080 -P .htpasswd -a update,download,list ~/packages

    Documentation: docs/migration/pypiserver.md
    """
    packages = tuple(each.expanduser() for each in folders or (Path("~/packages"),))
    overrides = overrides_of(options)
    defaults: dict[str, dict[str, object]] = {
        "server": {"host": ALL_INTERFACES},
        "store": {"location": str(packages[0] / STORE_FOLDER)},
        # in pypiserver, a user who may publish may also delete
        "access": {"htpasswd_may_manage": True},
    }
    if port := process_environment().get("PYPISERVER_PORT"):  # used by pypiserver's image
        defaults["server"]["port"] = port
    settings = server_settings(options, overrides, defaults)
    for name, why in _IGNORED_OPTIONS.items():
        if options[name] is not None:
            warn(f"--{name.replace('_', '-')} does nothing here: {why}")
    places = tuple(str(folder) for folder in packages)
    run_index(settings, WatchOptions(places=places, lenient=options["lenient"], import_first=True))
