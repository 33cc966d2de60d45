"""Options as pypiserver has them: what they mean here, and which of them mean nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from wheelyard.cli.warnings import warn

NOBODY: Final = "."
"""What `-P` and `-a` say where no password is to be asked for."""
ACTIONS: Final = frozenset({"download", "list", "update"})

F = TypeVar("F", bound=Callable[..., object])

_IGNORED: Final = {
    "backend": "the store is what --store names",
    "cache_control": "each reply has the one that is right for it",
    "fallback_url": "no other index is asked or named",
    "hash_algo": "pages always have SHA-256",
    "health_endpoint": "it is /health",
    "log_err_frmt": "the log has a form of its own",
    "log_file": "the log goes to standard error",
    "log_frmt": "the log has a form of its own",
    "log_req_frmt": "the log has a form of its own",
    "log_res_frmt": "the log has a form of its own",
    "log_stream": "the log goes to standard error",
    "overwrite": "a published file is never replaced; use a new version",
    "server": "wheelyard has a server of its own; --workers takes more processes",
    "server_base_url": "links are relative; [server] path_prefix is what a proxy puts before paths",
    "verbose": "the log has one line for each thing that goes wrong",
    "welcome": "the page at / is our own",
}
"""Options that are taken and do nothing, with why."""
_FLAGS: Final = frozenset({"overwrite", "verbose"})


def access_options(command: F) -> F:
    """Add `-P`, `-a` and `--i-know` to a command."""
    passwords = click.option(
        "-P",
        "--passwords",
        metavar="FILE",
        help="htpasswd file: whose names may read and upload; '.' for none, with '-a .'.",
    )
    actions = click.option(
        "-a",
        "--authenticate",
        "actions",
        metavar="ACTIONS",
        help="What needs a credential: update,download,list; '.' for nothing.  [default: update]",
    )
    i_know = click.option(
        "--i-know",
        is_flag=True,
        default=None,
        help="Let everybody publish who reaches the server, though others than this machine do.",
    )
    return passwords(actions(i_know(command)))


def ignored_options(command: F) -> F:
    """Add the options of pypiserver that do nothing here to a command."""
    for name in sorted(_IGNORED, reverse=True):
        flags = ["--" + name.replace("_", "-")]
        flags += {"overwrite": ["-o"], "verbose": ["-v"]}.get(name, [])
        is_flag = name in _FLAGS
        command = click.option(*flags, name, is_flag=is_flag, default=None, hidden=True)(command)
    return click.option("--disable-fallback", is_flag=True, hidden=True)(command)


def warn_of_ignored(options: Mapping[str, Any]) -> None:
    """Say of each option that does nothing that it does nothing."""
    for name, why in _IGNORED.items():
        if options.get(name) is not None:
            warn(f"--{name.replace('_', '-')} does nothing here: {why}")


def access_overrides(
    passwords: str | None, actions: str | None, *, i_know: bool | None
) -> dict[str, object]:
    """
    Return the settings of `[access]` that `-P` and `-a` stand for.

    Raises:
        click.UsageError: An action is none, or the two contradict each other.
    """
    chosen: dict[str, object] = {"anonymous_uploads_anywhere": i_know}
    protected = None if actions is None else _parsed(actions)
    if (passwords == NOBODY) != (protected == frozenset()):
        raise click.UsageError("No password is asked for with '-P .' and '-a .', both of them.")
    if passwords is not None:
        chosen["htpasswd_file"] = "" if passwords == NOBODY else passwords
    if protected is None:
        return chosen
    if len(protected & {"download", "list"}) == 1:
        warn("lists and downloads are one right here, so that both of them need a credential")
    if not protected.isdisjoint({"download", "list"}):
        chosen["private"] = True  # what the settings file has closed, this does not open
    chosen["anonymous_uploads"] = "update" not in protected
    return chosen


def _parsed(actions: str) -> frozenset[str]:
    words = frozenset(word.strip().lower() for word in actions.split(","))
    if words == {NOBODY}:
        return frozenset()
    if not words <= ACTIONS:
        raise click.UsageError("-a takes download, list and update, with commas; or a single dot.")
    return words
