"""
The process that renders descriptions: `python -m wheelyard.operations.descriptions.child`.

The process reads requests from standard input and writes answers to standard output, each a line of
JSON. It ends with its standard input. It holds no secret, and it limits itself before it reads the
first request. The kernel ends the process when a description takes more processor time than its
limit: no code of the process has to run for that.

The HTML comes from readme_renderer, whose sanitiser has removed scripts and the like. This module
writes only elements and attributes that it knows. It gives ids a prefix that no part of the page
has, puts headings below those of the page, leaves out elements that a screen reader could not name,
and shows images of other hosts as links. The text of such a link is the alternative text of the
image. Several images in a row without such a text are numbered, as the same word again and again
would say nothing. A description with many headings begins with a fold-out of links to them. A row
of badges above the second heading is folded, too, as it would push the text down.

In our own documentation, headings begin at the first level, and relative links and images stay, as
the caller knows where they lead.
"""

import json
import mimetypes
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from html import escape
from html.parser import HTMLParser
from typing import Final

from msgspec import Struct
from pygments.token import STANDARD_TYPES

MAX_DEPTH: Final = 100
"""The most elements within each other. Browsers and screen readers have limits, too."""
ID_PREFIX: Final = "user-content-"
"""The beginning of every id of a description, and of no other id of a page."""
HEADING_ABOVE: Final = 2
"""The level of the page's heading above a description."""
LISTED_HEADINGS: Final = 7
"""The number of headings from which a description begins with links to them."""

_PHRASES: Final = frozenset(
    {"a", "abbr", "b", "cite", "code", "del", "em", "i", "kbd", "span", "strong", "sub", "sup"}
)
_BLOCKS: Final = frozenset({"blockquote", "details", "div", "figcaption", "figure", "p", "pre"})
_LISTS: Final = frozenset({"dd", "dl", "dt", "li", "ol", "summary", "ul"})
_TABLES: Final = frozenset({"caption", "table", "tbody", "td", "th", "thead", "tr"})
_UNCHANGED: Final = _PHRASES | _BLOCKS | _LISTS | _TABLES | {"br", "hr", "img", "input", "var"}
"""The elements whose tag a page has as the description has it."""
_RENAMED: Final = {
    "acronym": "abbr",
    "aside": "div",  # landmarks are for the page
    "nav": "div",
    "section": "div",
    "tt": "code",
}
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_VOID: Final = frozenset(("br", "col", "hr", "img", "input"))
_ALIGNED: Final = frozenset(("div", "p", "td", "th", *_HEADINGS))
_CODE_CLASSES: Final = frozenset(STANDARD_TYPES.values()) - {""}
"""The classes of Pygments, which colour code."""
_ADMONITIONS: Final = frozenset(
    {"attention", "caution", "danger", "error", "hint", "important", "note", "tip", "warning"}
)
_CLASSES: Final = {
    "div": _ADMONITIONS | {"admonition", "line", "line-block"},
    "p": frozenset({"admonition-title"}),
}
"""The classes that the style sheet knows in descriptions, by the tag of a page."""
_CONTENTS: Final = frozenset({"contents", "contents topic"})
"""The classes that docutils gives to a list of all headings."""
_ABSOLUTE: Final = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
_HOST: Final = re.compile(r'href="https?://(?:www\.)?([^/"?#]+)', re.IGNORECASE)
_LINKS_TO_TOP: Final = frozenset({"#top", f"#{ID_PREFIX}top"})
_ID_OF_TOP: Final = re.compile(rf'\sid="(?:{ID_PREFIX})?top"')
_UNNAMED: Final = frozenset(("", "image", "img"))
"""Alternative texts that say nothing. GitHub writes `image` for a picture that is pasted."""
_IMAGE: Final = "image"
"""The tag of a part of an element that shows only images."""
_UNNAMED_IMAGE: Final = "unnamed-image"
"""The tag of a part that is one linked image without a text of its own: its text is `image`."""
_BADGE: Final = "badge"
"""The tag of a part that is one linked image with a text, above the second heading."""
_IMAGE_LETTERS: Final = {_IMAGE: "i", _UNNAMED_IMAGE: "u", _BADGE: "l"}
"""The letters of images for the regular expressions below, by the tags of their parts."""
_BADGES: Final = re.compile("b*l(?:b*l){3,}b*")
"""A row that is folded: four badges or more. Fewer have space on one line."""
_ROW: Final = re.compile("u(?:b*u)+|l(?:b*l){3,}|.")
"""Unnamed images, or badges, with only blanks and line breaks between them, or any other part."""
_FOLDING: Final = frozenset({"", "center", "div", "section"})
"""The elements that fold a row of badges beside other parts. Empty is the whole description."""
_BLANK: Final = re.compile(r"[\s\u200b-\u200f\ufeff]*")

PROCESSOR_SECONDS: Final = 1.0
"""The most processor time for one description."""
MEMORY: Final = 256 * 1024**2
"""The most address space of the process, in bytes. Without a description it takes 40 MB."""
MAX_OUTPUT: Final = 2 * 1024**2
"""The most characters of a rendered description."""
OPEN_FILES: Final = 16
"""The most open files of the process."""
Render = Callable[[str], str | None]
"""Returns a text as HTML, or None if the text is not valid in its markup."""
_FORBIDDEN_EVENTS: Final = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
)
"""The beginnings of audit events that the process refuses."""


class TooComplex(Exception):
    """There are too many elements within each other."""


class _Element(Struct):
    """An element whose end was not read yet."""

    tag: str
    """The tag of the element. The whole description has an empty tag."""
    attributes: dict[str, str]
    parts: list[tuple[str, str]] = []
    """The tag and the HTML of each child. The tag of text is empty, and images have tags above."""
    has_text: bool = False
    """Whether the element has words, or an image with a text, for a screen reader."""
    target: str = ""
    """The id in a link that the library has written into a heading, or empty without one."""

    @property
    def html(self) -> str:
        """The children of the element, as HTML."""
        return "".join(_with_rows_of_images(self.parts, folds=self.tag in _FOLDING))

    @property
    def shown_tags(self) -> list[str]:
        """The tags of the children that have any HTML, and of the text between them."""
        return [tag for tag, html in self.parts if html.strip()]


class _Heading(Struct):
    """A heading of a description, as the list of all headings has it."""

    level: int
    """The level, which is 1 for the highest one of the description."""
    target: str
    """The id in a link to the heading, without a prefix, or empty if there is none."""
    html: str
    """The HTML of its text, which may have a link."""


def rewrite(html: str, *, is_own: bool = False) -> str:
    """
    Return the HTML that readme_renderer has made, as a part of a page.

    `is_own` says that it is our documentation, which has the page for itself. Raises TooComplex for
    elements that are nested too deeply.
    """
    has_top = _ID_OF_TOP.search(html) is not None
    rewriter = _Rewriter(is_own=is_own, has_top=has_top)
    rewriter.feed(html)
    rewriter.close()
    return rewriter.result()


class _Rewriter(HTMLParser):
    """
    Writes HTML again with the elements and attributes that a page may have.

    An element is written when its end is read, as its children decide what is written.
    """

    def __init__(self, *, is_own: bool, has_top: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._is_own = is_own
        self._id_prefix = ID_PREFIX
        self._heading_above = HEADING_ABOVE
        if is_own:
            self._id_prefix = ""
            self._heading_above = 0
        self._open = [_Element("", {})]
        """The elements around the next text, of which the first is the whole description."""
        self._ids = set[str]()
        self._headings = list[_Heading]()
        self._levels = list[int]()
        """The levels of the headings above the next text, as the author has numbered them."""
        self._has_contents = False
        """Whether the author has a list of the headings."""
        self._has_top = has_top
        """Whether an element has the id `top`. Otherwise `#top` is the top of the page (HTML)."""

    def result(self) -> str:
        """Return the HTML of the whole description."""
        # the author may have left elements open
        while len(self._open) > 1:
            self._end()
        html = self._open[0].html
        is_short = len(self._headings) < LISTED_HEADINGS
        if is_short or self._is_own or self._has_contents:
            return html
        return _list_of_headings(self._headings) + html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        attributes = {name: value or "" for name, value in attrs}
        self._open.append(_Element(tag, attributes))
        if len(self._open) > MAX_DEPTH:
            raise TooComplex
        if tag in _VOID:
            self._end()

    def handle_endtag(self, tag: str) -> None:
        """End the open element with this tag and all within it, or nothing if there is none."""
        if any(element.tag == tag for element in self._open[1:]):
            while self._end() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Add text to the innermost open element."""
        self._add("", escape(data, quote=False), has_text=_BLANK.fullmatch(data) is None)

    def _is_within(self, *tags: str) -> bool:
        """Return whether an open element has one of these tags."""
        return any(element.tag in tags for element in self._open)

    def _add(self, tag: str, html: str, *, has_text: bool) -> None:
        """Add a part to the innermost open element."""
        parent = self._open[-1]
        parent.parts.append((tag, html))
        parent.has_text |= has_text

    def _end(self) -> str:
        """
        End the innermost open element, and add it to the element around it.

        Return its tag as the description has it.
        """
        element = self._open.pop()
        author_tag = element.tag  # `_write_other` may change the tag of the element
        if element.tag in _HEADINGS:
            tag, html = self._write_heading(element)
        elif element.tag == "a":
            tag, html = self._write_link(element)
        elif element.tag == "img":
            tag, html = self._write_image(element)
        else:
            tag, html = self._write_other(element)
        self._add(tag, html, has_text=element.has_text)
        return author_tag

    def _id(self, element: _Element) -> str:
        """
        Return the attribute `id` of an element, with the prefix.

        The text is empty if the element has no valid id, or another element has the same one.
        """
        name = element.attributes.get("id", "").removeprefix(ID_PREFIX)
        has_space = any(character.isspace() for character in name)
        if not name or has_space or name in self._ids:
            return ""
        self._ids.add(name)
        return f' id="{self._id_prefix}{escape(name)}"'

    # Each of these four methods returns the tag of a part, and the HTML of the part.

    def _write_heading(self, element: _Element) -> tuple[str, str]:
        """Return a heading as a part, a paragraph without a text, or its HTML alone."""
        if not element.has_text:
            return "", element.html
        id_attribute = self._id(element)
        align = _align(element)
        if _has_only_unnamed_images(element):
            return "p", f"<p{id_attribute}{align}>{element.html}</p>"

        # the level is counted by the headings above, as authors leave levels out
        level = int(element.tag[1])
        while self._levels and self._levels[-1] >= level:
            self._levels.pop()
        self._levels.append(level)
        target = element.target
        if id_attribute:
            target = element.attributes["id"]
        heading = _Heading(len(self._levels), target.removeprefix(ID_PREFIX), element.html)
        self._headings.append(heading)
        tag = f"h{min(self._heading_above + heading.level, 6)}"
        html = heading.html

        # links have no links within them, and a click on a summary opens its fold-out
        if not (self._is_own or self._is_within("a", "summary")):
            html = _with_link(heading)
        return tag, f"<{tag}{id_attribute}{align}>{html}</{tag}>"

    def _write_link(self, element: _Element) -> tuple[str, str]:
        """Return a link as a part, or the HTML in it alone if the page cannot have the link."""
        target = element.attributes.get("href", "").strip()
        id_attribute = self._id(element)
        title = element.attributes.get("title", "")
        if title:
            title = f' title="{escape(title)}"'
        names_id = target.startswith("#") and len(target) > 1
        is_anchor = names_id and not self._is_within(*_HEADINGS)

        # a library may write an empty link to a heading into the heading
        if target.startswith("#") and not element.has_text and self._open[-1].tag in _HEADINGS:
            self._open[-1].target = target[1:]
        if element.has_text and target in _LINKS_TO_TOP and not self._has_top:
            # docutils writes such a link into the title of a table of contents
            return "a", f'<a href="#top"{id_attribute}{title}>{element.html}</a>'
        if element.has_text and is_anchor:
            anchor = escape(self._id_prefix + target[1:].removeprefix(ID_PREFIX))
            return "a", f'<a href="#{anchor}"{id_attribute}{title}>{element.html}</a>'
        if element.has_text and _ABSOLUTE.match(target):
            tag = self._tag_of_badge(_tag_of_link(element))
            return tag, f"<a {_outward(target)}{id_attribute}{title}>{element.html}</a>"
        if element.has_text and target and self._is_own:
            tag = _tag_of_link(element)
            return tag, f'<a href="{escape(target)}"{id_attribute}>{element.html}</a>'

        # a relative link leads to a file that the index does not have
        if _tag_of_link(element) == _UNNAMED_IMAGE:
            element.has_text = False
            return "", ""
        html = element.html
        if id_attribute:
            html = f"<span{id_attribute}>{html}</span>"
        return _tag_of_link(element), html

    def _write_image(self, element: _Element) -> tuple[str, str]:
        """Return an image as a part: a link to it, its text, or the image in our documentation."""
        source = element.attributes.get("src", "").strip()
        text = " ".join(element.attributes.get("alt", "").split())

        # docutils writes the address as the text of an image without one
        is_named = text.casefold() not in _UNNAMED and text != source
        tag = _UNNAMED_IMAGE
        label = "image"
        if is_named:
            tag = _IMAGE
            label = escape(text)
        if not (is_named or self._is_own or self._is_within("a")):
            return "", ""  # an image that has no text and is no link says nothing
        element.has_text = True
        if self._is_own and not _ABSOLUTE.match(source):
            attributes = f'src="{escape(source)}" alt="{label}" loading="lazy"'
            for name in ("width", "height"):
                size = element.attributes.get(name, "")
                if re.fullmatch(r"\d{1,4}%?", size):
                    attributes += f' {name}="{size}"'
            return "img", f"<img {attributes}>"
        if _ABSOLUTE.match(source) and not self._is_within("a"):
            return self._tag_of_badge(tag), f"<a {_outward(source)}>{label}</a>"
        return tag, f"<span>{label}</span>"

    def _tag_of_badge(self, tag: str) -> str:
        """Return the tag of a part that is a link to another site, which may be a badge."""
        if tag == _IMAGE and len(self._headings) < 2:  # noqa: PLR2004
            return _BADGE
        return tag

    def _write_other(self, element: _Element) -> tuple[str, str]:
        """Return any other element as a part, or its HTML alone if a page may not have it."""
        if element.tag == "p" and _BADGES.fullmatch(_letters(element.parts)):
            element.tag = "div"  # a paragraph has no fold-out
        self._has_contents |= element.attributes.get("class") in _CONTENTS
        tag = _RENAMED.get(element.tag, element.tag)
        if tag == "input":
            return tag, self._checkbox(element)
        if tag in {"br", "hr"}:
            return tag, f"<{tag}>"
        attributes = self._id(element) + self._classes(element) + _align(element)
        if element.tag == "span" and "literal" in element.attributes.get("class", "").split():
            tag = "code"
        if tag in {"ul", "ol"}:
            attributes += _number(element, "start", 9)
        elif tag in {"td", "th"}:
            # a heading without a word is no name of a column
            if not element.has_text:
                tag = "td"
            attributes += _number(element, "colspan", 2) + _number(element, "rowspan", 2)
        elif tag in {"li", "dt", "dd", "summary"}:
            tag = self._list_part(tag)
        is_empty_span = tag == "span" and not attributes
        if tag not in _UNCHANGED or is_empty_span:
            return "", element.html
        return self._write_mended(tag, attributes, element)

    def _write_mended(self, tag: str, attributes: str, element: _Element) -> tuple[str, str]:
        """Return an element as a part, mended where a screen reader would stumble over it."""
        html = element.html
        if tag in {"ul", "ol"}:
            # a list may have no children but items
            items = list[str]()
            for part_tag, part_html in element.parts:
                if part_tag == "li" or not part_html.strip():
                    items.append(part_html)
                else:
                    items.append(f"<li>{part_html}</li>")
            html = "".join(items)
        elif tag == "dl" and not _is_definition_list(element):
            html = re.sub(r"<(/?)d[td]\b", r"<\1div", html)
            tag = "div"
        elif tag == "summary" and not element.has_text:
            html = "Details"
        elif tag == "table":
            # a table of headings alone has no cells that they are headings of
            if "<td" not in html:
                html = re.sub(r"<(/?)th\b", r"<\1td", html)
            table = f"<table{attributes}>{html}</table>"
            frame = '<div class="scrolling" role="group" aria-label="Table" tabindex="0">'
            return "div", f"{frame}{table}</div>"
        return tag, f"<{tag}{attributes}>{html}</{tag}>"

    def _list_part(self, tag: str) -> str:
        """Return `tag`, or `div` if the element around is none that may have such a child."""
        parents = {"li": ("ul", "ol"), "summary": ("details",)}.get(tag, ("dl",))
        if self._open[-1].tag in parents:
            return tag
        return "div"

    def _classes(self, element: _Element) -> str:
        """Return the attribute `class` with the classes that the style sheet knows, or nothing."""
        tag = _RENAMED.get(element.tag, element.tag)
        classes = _CLASSES.get(tag, frozenset())
        # within code, the classes of Pygments
        if self._is_within("pre", "code"):
            classes = _CODE_CLASSES
        names = [name for name in element.attributes.get("class", "").split() if name in classes]
        if not names:
            return ""
        return f' class="{" ".join(names)}"'

    def _checkbox(self, element: _Element) -> str:
        """
        Return the box of a list of tasks (GitHub Flavored Markdown).

        The text is empty for any other field.
        """
        if element.attributes.get("type") != "checkbox":
            return ""
        state = ' aria-label="to do"'
        if "checked" in element.attributes:
            state = ' checked aria-label="done"'
        return f'<input type="checkbox" disabled{state}>'


def _tag_of_link(element: _Element) -> str:
    """Return the tag of a part that is a link: `a`, or the tag of the images that it shows."""
    tags = element.shown_tags
    if not tags or any(tag not in _IMAGE_LETTERS for tag in tags):
        return "a"
    if len(tags) > 1:
        return _IMAGE
    return tags[0]


def _with_rows_of_images(parts: Sequence[tuple[str, str]], *, folds: bool) -> Iterator[str]:
    """
    Yield the HTML of parts, with a blank between two images, and numbers for unnamed images.

    `folds` says that rows of badges are folded.
    """
    letters = _letters(parts)
    if not folds:
        letters = letters.replace("l", "i")
    for row in _ROW.finditer(letters):
        start, stop = row.span()
        letter_before_and_first = letters[max(start - 1, 0) : start + 1]
        # the texts of two images without a blank between them would be one word
        if re.fullmatch("[iul]{2}", letter_before_and_first):
            yield " "
        images = [html for tag, html in parts[start:stop] if tag in _IMAGE_LETTERS]
        if len(images) < 2:  # noqa: PLR2004
            tag, html = parts[start]
            yield _with_host(tag, html)
        elif letters[start] == "l":
            yield _fold_badges(images)
        else:
            yield _number_images(images)


def _letters(parts: Sequence[tuple[str, str]]) -> str:
    """Return a letter for each part, so that regular expressions find rows of images."""
    return "".join(_letter(tag, html) for tag, html in parts)


def _letter(tag: str, html: str) -> str:
    """Return the letter of a part: of an image, `b` of a break or a blank, or `o` of any other."""
    if tag in _IMAGE_LETTERS:
        return _IMAGE_LETTERS[tag]
    is_blank = not (tag or html.strip())
    if tag == "br" or is_blank:
        return "b"
    return "o"


def _has_only_unnamed_images(element: _Element) -> bool:
    """Return whether an element has no children but images without a text, and blanks."""
    return set(_letters(element.parts)) <= {"b", "u"}


def _fold_badges(badges: Sequence[str]) -> str:
    """Return the HTML of a fold-out with badges, whose summary is their number."""
    # with a direction of its own, as the first text without one decides that of the description
    summary = f'<summary dir="ltr">{len(badges)} badges</summary>'
    return f'<details class="badges">{summary}{" ".join(badges)}</details>'


def _with_link(heading: _Heading) -> str:
    """Return the HTML in a heading: a link to the heading, unless its text has a link."""
    if not heading.target or "<a " in heading.html:
        return heading.html
    return f'<a href="#{ID_PREFIX}{escape(heading.target)}">{heading.html}</a>'


def _list_of_headings(headings: Sequence[_Heading]) -> str:
    """Return a fold-out of links to headings, in lists within each other."""
    pieces = ['<details class="contents"><summary dir="ltr">On this page</summary>']
    depth = 0
    for heading in headings:
        text = re.sub("<[^>]*>", "", heading.html).strip()
        if not heading.target:
            continue
        # one level deeper at most: headings without a target are left out of the list
        level = min(heading.level, depth + 1)
        if level > depth:
            pieces.append("<ul>")
        else:
            pieces.append("</li>" + "</ul></li>" * (depth - level))
        # the item stays open for the list of the headings below this one
        pieces.append(f'<li><a href="#{ID_PREFIX}{escape(heading.target)}">{text}</a>')
        depth = level
    pieces.append("</li></ul>" * depth)
    pieces.append("</details>\n")
    return "".join(pieces)


def _with_host(tag: str, html: str) -> str:
    """Return the HTML of a part. The text of an unnamed image is the host that it links to."""
    host = _HOST.search(html)
    if tag != _UNNAMED_IMAGE or host is None:
        return html
    return html.replace(">image<", f">{host[1]}<")


def _number_images(images: Sequence[str]) -> str:
    """Return the HTML of unnamed images in a row, each with a number as its text."""
    has_links = any("href=" in html for html in images)
    if not has_links:  # all of them are in one link
        return f"<span>{len(images)} images</span>"
    links = list[str]()
    for number, html in enumerate(images, start=1):
        links.append(html.replace(">image<", f">{number}<"))
    return f"<span>images {' '.join(links)}</span>"


def _outward(target: str) -> str:
    """Return the attributes of a link to another site, which is told nothing of this page."""
    return f'href="{escape(target)}" rel="nofollow noopener noreferrer"'


def _align(element: _Element) -> str:
    """Return the attribute `align` of an element, or an empty text without a valid one."""
    value = element.attributes.get("align", "").lower()
    if element.tag in _ALIGNED and value in {"left", "center", "right"}:
        return f' align="{value}"'
    return ""


def _number(element: _Element, name: str, digits: int) -> str:
    """Return an attribute whose value is a number of at most `digits` digits, or an empty text."""
    value = element.attributes.get(name, "")
    if value.isascii() and value.isdecimal() and len(value) <= digits:
        return f' {name}="{value}"'
    return ""


def _is_definition_list(element: _Element) -> bool:
    """Return whether an element has terms with their definitions, and nothing else."""
    tags = element.shown_tags
    is_ordered = bool(tags) and tags[0] == "dt" and tags[-1] == "dd"
    return is_ordered and set(tags) == {"dt", "dd"}


def main() -> None:
    """
    Answer the requests on standard input, until it ends.

    First this process limits itself, for good.
    """
    _limit_resources()
    _write({"ready": ""})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        render = _renderer(request["markup"])
        # SIGPROF ends the process, which tells the parent that the description is too slow
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
        answer = _answer(render, request["text"], is_own=request["own"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)


def _write(message: dict[str, str]) -> None:
    """Write one line of JSON to standard output."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def _renderer(markup: str) -> Render:
    """Return the function that renders a markup."""
    # imported for the first description that needs it, as docutils takes three quarters of the
    # time in which this process starts
    if markup == "rst":
        from readme_renderer import rst  # noqa: PLC0415

        return rst.render
    from readme_renderer import markdown  # noqa: PLC0415

    return partial(markdown.render, variant=markup)


def _answer(render: Render, text: str, *, is_own: bool) -> dict[str, str]:
    """Return the `html` of a text, or the `problem` in one word: `markup` or `complex`."""
    try:
        rendered = render(text)
        if rendered is None:
            return {"problem": "markup"}
        if len(rendered) > MAX_OUTPUT:
            return {"problem": "complex"}
        html = rewrite(rendered, is_own=is_own)
    except (MemoryError, RecursionError, TooComplex):
        return {"problem": "complex"}
    except Exception:  # noqa: BLE001 - docutils raises many types for text that it does not expect
        return {"problem": "markup"}
    if not 0 < len(html) <= MAX_OUTPUT:
        return {"problem": "complex"}
    return {"html": html}


def _limit_resources() -> None:
    """Limit the memory and the files of this process, for good, and forbid it all other access."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")  # a machine without memory ends this process, not the server
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for limit, value in limits.items():
        with suppress(OSError, ValueError):  # macOS has no limit of address space
            resource.setrlimit(limit, (value, value))
    # docutils asks `mimetypes` about images, which would read files of this machine
    mimetypes.init([])
    sys.dont_write_bytecode = True

    # not resolved: some installers make links to the files of a cache, outside of these folders
    code_folders = tuple(os.path.abspath(path) for path in sys.path if path)  # noqa: PTH100

    # an audit hook cannot be removed, not even by code that a description might run
    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            # lexers and languages are imported by the first description that needs them
            path = arguments[0]
            if not isinstance(path, str):
                raise PermissionError(path)
            if not os.path.abspath(path).startswith(code_folders):  # noqa: PTH100
                raise PermissionError(path)
        elif event.startswith(_FORBIDDEN_EVENTS):
            raise PermissionError(event)

    sys.addaudithook(refuse)


if __name__ == "__main__":
    main()
