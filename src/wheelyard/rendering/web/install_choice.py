"""
What the install line of a page asks for: which extras of a project, and which versions of it.

Whoever looks at the page chooses, by a form whose fields are in the query of the page:

    ?extras=cli&extras=docs&pin=compatible    or ?extras=cli,docs&pin=compatible

The script of the pages makes the same lines without the server.
"""

import re
from collections.abc import Container, Iterable, Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.model.distribution_filename import listed_version

LATEST: Final = "none"
EXACT: Final = "exact"
COMPATIBLE: Final = "compatible"
PINS: Final = (LATEST, EXACT, COMPATIBLE)
"""Which versions a line may ask for."""
MAX_EXTRAS: Final = 100
"""The most extras to choose from."""
EXTRAS_IN_SHORT: Final = 6
"""With more extras, the further ones are folded."""
_EXTRA: Final = re.compile("[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_RELEASE_NUMBERS: Final = 2
"""The fewest numbers of a version with which others are compatible (PEP 440)."""


class InstallChoice(Struct, frozen=True):
    """What somebody has chosen on a page."""

    extras: frozenset[str] = frozenset()
    """Normalised names, also of extras that the release does not have."""
    pin: str = ""
    """One of `PINS`, or empty for the usual one of the page."""


NO_CHOICE: Final = InstallChoice()


class Pin(Struct, frozen=True):
    """A way to say which versions a line asks for."""

    value: str
    """One of `PINS`."""
    text: str
    """What stands behind the name, such as `==1.0`, or an empty text."""


class InstallLine(Struct, frozen=True, kw_only=True):
    """What install lines ask for, and what else they could ask for."""

    name: NormalizedName
    pins: Sequence[Pin]
    pin: Pin
    """The one of them that was chosen."""
    extras: Sequence[str]
    """What there is to choose from."""
    chosen: Sequence[str]

    @property
    def package(self) -> str:
        """The name with the chosen extras in brackets, if there are any."""
        return with_extras(self.name, self.chosen)

    @property
    def requirement(self) -> str:
        """What is installed, as it is written in a shell."""
        text = f"{self.package}{self.pin.text}"
        if "!" in text:  # shells replace it within double quotes, too
            return f"'{text}'"
        if "[" in text or "~" in text:  # patterns of filenames
            return f'"{text}"'
        return text

    @property
    def query(self) -> str:
        """The query of the URL of the requirements file, with its question mark if it has one."""
        return f"?{urlencode({'extras': ','.join(self.chosen)}, safe=',')}" if self.chosen else ""

    @property
    def named(self) -> Sequence[str]:
        """The extras that are not folded."""
        return self.extras[:EXTRAS_IN_SHORT]

    @property
    def folded(self) -> Sequence[str]:
        """The extras that are folded."""
        return self.extras[EXTRAS_IN_SHORT:]

    @property
    def is_unfolded(self) -> bool:
        """Whether one of the folded extras was chosen, so that they have to be seen."""
        return not set(self.folded).isdisjoint(self.chosen)


def parse_extras(text: str) -> frozenset[str]:
    """Return the normalised names of the extras in a text with commas between them."""
    return frozenset(canonicalize_name(part.strip()) for part in text.split(",")) - {""}


def with_extras(name: NormalizedName, extras: Sequence[str]) -> str:
    """Return a name with extras in brackets, if there are any."""
    return f"{name}[{','.join(extras)}]" if extras else name


def known_extras(provides_extra: Iterable[str], asked: Container[str]) -> list[str]:
    """Return those of some extras that a release has, and that may stand in a command."""
    return [extra for extra in _shown_extras(provides_extra) if extra in asked]


def install_line(
    name: NormalizedName,
    version: str,
    provides_extra: Iterable[str],
    choice: InstallChoice,
    *,
    usual: str,
) -> InstallLine:
    """Return what the lines of a page ask for, which is the `usual` of `PINS` without a choice."""
    extras = _shown_extras(provides_extra)
    pins = _pins(version)
    by_value = {pin.value: pin for pin in pins}
    return InstallLine(
        name=name,
        pins=pins,
        pin=by_value.get(choice.pin) or by_value[usual],
        extras=extras,
        chosen=known_extras(extras, choice.extras),
    )


def _shown_extras(provides_extra: Iterable[str]) -> list[str]:
    """Return the extras to choose from: those that may stand in a command."""
    # old metadata may have any text, and people paste the line into a shell
    return [extra for extra in provides_extra if _EXTRA.fullmatch(extra)][:MAX_EXTRAS]


def _pins(version: str) -> list[Pin]:
    pins = [Pin(LATEST, ""), Pin(EXACT, f"=={version}")]
    parsed = listed_version(version)
    if len(parsed.release) >= _RELEASE_NUMBERS:
        # nothing is compatible with a local version
        pins.append(Pin(COMPATIBLE, f"~={parsed.public}"))
    return pins
