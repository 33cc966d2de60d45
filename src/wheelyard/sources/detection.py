"""
What kind of source a place is, told by what lies in it.

A few hundred files are looked at, and nothing is read but names and what a listing says.
"""

from itertools import islice
from typing import Final

from wheelyard.sources import devpi, gaepypi, pypicloud
from wheelyard.sources.naming import is_offered
from wheelyard.sources.places import Item, Place

LOOKED_AT: Final = 500
"""Files."""


def recognised(place: Place) -> str:
    """
    Return the kind of source that a place seems to be; `files` if nothing says otherwise.

    Raises:
        Invalid: There is no such place (code `bad_source`).
        Unavailable: It does not answer.
    """
    if place.find(devpi.INDEX) is not None:
        return "devpi"
    looked_at = islice(place.items(), LOOKED_AT)
    items = [found for found in looked_at if isinstance(found, Item)]
    offered = [item for item in items if is_offered(item.filename)]
    if offered and all(gaepypi.is_right(item) for item in offered):
        return "gaepypi"
    if offered and _is_pypicloud(items, offered):
        return "pypicloud"
    return "files"


def _is_pypicloud(items: list[Item], offered: list[Item]) -> bool:
    if all(pypicloud.has_hash(item) or pypicloud.has_facts(item) for item in offered):
        return True
    paths = {item.path for item in items}
    return all(
        len(item.parts) == 3 and item.path + pypicloud.SUFFIX in paths  # noqa: PLR2004 - N/V/FILE
        for item in offered[: len(offered) // 2 + 1]  # the rest may lie beyond what was looked at
    )
