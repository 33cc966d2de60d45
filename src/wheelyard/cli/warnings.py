"""
What a command says to whoever runs it, one line each: on standard error, or in a server's log.

A server has a log whose form the settings decide. What it has to say before they are known is kept
until then; if they turn out to be wrong, it is said as by every other command.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from wheelyard.catalog import keys
from wheelyard.model.text import escaped
from wheelyard.operations.doors import Doors
from wheelyard.settings.advice import advice_on
from wheelyard.settings.sections import MEMORY, Settings
from wheelyard.storage.cloud.location import is_bucket
from wheelyard.trust.exposure import ways_to_change

SERVERS: Final = frozenset({"serve", "run"})
"""Commands that have a log."""

_SAYING: Final = f"{__name__}.saying"
"""Where click keeps how a server says things."""
_PREFIXES: Final = {logging.INFO: "wheelyard: ", logging.WARNING: "wheelyard: warning: "}

Say = Callable[[int, str], None]
"""Says something, of a level that `logging` has."""


def warn(what: str) -> None:
    """Say what an operator should know, and go on."""
    _saying()(logging.WARNING, escaped(what))


def note(what: str) -> None:
    """Say what was done without being asked for."""
    _saying()(logging.INFO, escaped(what))


def settle(*, in_log: bool) -> None:
    """
    Say what a server has kept so far, and from now on everything at once.

    Args:
        in_log: Whether it goes to the log, which is configured; else as plain lines.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return
    kept = context.meta.get(_SAYING)
    context.meta[_SAYING] = _log if in_log else _print
    if isinstance(kept, _Kept):
        kept.say(context.meta[_SAYING])


def warn_of(settings: Settings, doors: Doors) -> None:
    """Say what there is to know of settings, and of the places with credentials that they name."""
    for file in doors.files:
        for sentence in file.warnings:
            warn(sentence)
    store = settings.access.credentials_store or settings.store.location
    if store != MEMORY and not is_bucket(store):
        warn_of_writers(Path(store, keys.TOKENS))
    for sentence in advice_on(settings):
        warn(sentence)


def warn_of_writers(path: Path) -> None:
    """Say how every user of this machine can change what decides on rights."""
    for way in ways_to_change(path):
        warn(f"{path}: {way}.")


class _Kept:
    """What is to be said later."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] = []

    def __call__(self, level: int, what: str) -> None:
        self._lines.append((level, what))

    def say(self, say: Say) -> None:
        """Say it, once."""
        while self._lines:
            say(*self._lines.pop(0))


def _saying() -> Say:
    context = click.get_current_context(silent=True)
    if context is None or context.command.name not in SERVERS:
        return _print
    if _SAYING not in context.meta:
        kept = context.meta[_SAYING] = _Kept()
        # a start that fails ends here
        context.call_on_close(lambda: kept.say(_print))
    saying: Say = context.meta[_SAYING]
    return saying


def _print(level: int, what: str) -> None:
    click.echo(f"{_PREFIXES[level]}{what}", err=True)


def _log(level: int, what: str) -> None:
    logging.getLogger("wheelyard").log(level, "%s", what)
