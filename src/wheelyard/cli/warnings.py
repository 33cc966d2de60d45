"""Warnings, one line each on standard error."""

import click

from wheelyard.model.text import escaped
from wheelyard.operations.doors import Doors
from wheelyard.settings.advice import advice_on
from wheelyard.settings.sections import Settings


def warn(what: str) -> None:
    """Say what an operator should know, and go on."""
    click.echo(f"wheelyard: warning: {escaped(what)}", err=True)


def warn_of(settings: Settings, doors: Doors) -> None:
    """Say what there is to know of settings, and of the files with credentials that they name."""
    files = (doors.passwords, doors.static_tokens)
    for each in files:
        for sentence in each.warnings if each is not None else ():
            warn(sentence)
    for sentence in advice_on(settings):
        warn(sentence)
