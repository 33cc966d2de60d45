"""
The anchors of a page, and its base, found in one way through its text.

Each character is looked at a bounded number of times, whatever a page holds: what is not closed
ends the way, because all that follows belongs to it. Nothing is raised for nonsense. Follows the
HTML standard where that matters for links: comments, quoted values, and elements whose content is
text and no markup.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

WANTED: Final = frozenset({"a", "base"})
KEPT: Final = frozenset({"href", "data-yanked"})
PLAIN: Final = 4096
"""Characters of a value; in a longer one, references such as `&amp;` stay as they are written."""
_TEXT: Final = MappingProxyType(
    {
        name: re.compile(f"</{name}(?=[ \\t\\n\\r\\f/>])", re.IGNORECASE | re.ASCII)
        for name in (
            *("script", "style", "textarea", "title"),
            *("xmp", "iframe", "noembed", "noframes"),
        )
    }
)
"""Elements that have no others in them, and how each ends."""

# each is one class, repeated: there is nothing that a match could go back to
_NAME: Final = re.compile(r"[^ \t\n\r\f/>]*")
_GAP: Final = re.compile(r"[ \t\n\r\f/]*")
_BLANK: Final = re.compile(r"[ \t\n\r\f]*")
_KEY: Final = re.compile(r"[^ \t\n\r\f/>=]*")
_BARE: Final = re.compile(r"[^ \t\n\r\f>]*")


@dataclass(frozen=True, slots=True)
class Tag:
    """The beginning of an element."""

    name: str
    """In lower case."""
    attributes: Mapping[str, str]
    """Those that are kept; of two of one name the first."""


@dataclass(slots=True)
class Scanner:
    """
    One way through a page.

    Args:
        text: The page.
    """

    text: str = field(repr=False)
    at: int = 0
    looked: int = 0
    """How many characters were looked at, each as often as it was."""

    def tags(self) -> Iterator[Tag]:
        """Yield the beginnings of anchors and bases, in their order."""
        while self._past("<"):
            first = self.text[self.at : self.at + 1]
            if first.isascii() and first.isalpha():
                tag = self._tag()
                if tag is not None:
                    yield tag
            elif self.text.startswith("!--", self.at):
                self.at += 1  # the dashes of `<!-->` begin the comment and end it
                self._past("-->")
            elif first and first in "!?/":
                self._past(">")

    def _tag(self) -> Tag | None:
        """Return a tag that somebody wants; pass over every other, and over text behind it."""
        name = self._run(_NAME).lower()
        attributes = dict[str, str]()
        self._run(_GAP)
        while not self._is_at(">"):
            if self.at >= len(self.text):
                return None
            key, value = self._attribute()
            self._run(_GAP)
            if name in WANTED and key.lower() in KEPT:
                attributes.setdefault(key.lower(), value)
        self.at += 1
        if name in _TEXT:
            self._past_text(name)
        return Tag(name, attributes) if name in WANTED else None

    def _attribute(self) -> tuple[str, str]:
        begins = self.at
        if self._is_at("="):  # it is a part of the name there
            self.at += 1
        self._run(_KEY)
        key = self.text[begins : self.at]
        self._run(_BLANK)
        if not self._is_at("="):
            return key, ""
        self.at += 1
        self._run(_BLANK)
        for quote in "\"'":
            if self._is_at(quote):
                self.at += 1
                begins = self.at
                closed = self._past(quote)
                return key, _value(self.text[begins : self.at - 1]) if closed else ""
        return key, _value(self._run(_BARE))

    def _past_text(self, name: str) -> None:
        """Go to the end of an element without markup in it."""
        found = _TEXT[name].search(self.text, self.at)
        self._go_to(found.start() if found else len(self.text))

    def _past(self, text: str) -> bool:
        """Go behind the next `text`; to the end if there is none."""
        found = self.text.find(text, self.at)
        self._go_to(len(self.text) if found < 0 else found + len(text))
        return found >= 0

    def _run(self, pattern: "re.Pattern[str]") -> str:
        """Go over as many characters of a class as there are."""
        found = pattern.match(self.text, self.at)
        run = found[0] if found else ""
        self._go_to(self.at + len(run))
        return run

    def _go_to(self, place: int) -> None:
        self.looked += place - self.at + 1
        self.at = place

    def _is_at(self, character: str) -> bool:
        return self.text.startswith(character, self.at)


def _value(written: str) -> str:
    # of a number with thousands of digits, unescape makes an error
    return html.unescape(written) if len(written) <= PLAIN else written
