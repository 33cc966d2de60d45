"""
The process that renders descriptions: `python -m wheelyard.operations.descriptions.child`.

It reads requests from standard input and writes answers to standard output, each a line of JSON. It
ends with its standard input. It holds no secret, and it limits itself before it reads the first
request. The kernel ends it when a description takes more processor time than its limit: no code has
to run for that.

The input comes from readme_renderer, whose sanitiser has removed scripts and the like. This module
writes only elements and attributes that it knows. It makes ids that no part of the page has, puts
headings below those of the page, leaves out what a screen reader could not name, and shows images
of other hosts as links. The text of such a link is the alternative text. Several images in a row
that have none are numbered, as a row of badges would else be the same word again and again. What
has many headings begins with a fold-out of links to them, and a row of badges above the second
heading is folded, too: it says little, and stands above all text.

Of our own documentation, headings begin at the first level, and relative links and images stay: the
caller knows where they lead.
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
"""Elements within each other. Browsers and screen readers have limits, too."""
ID_PREFIX: Final = "user-content-"
"""Begins every id of a description, and no other id of a page."""
HEADING_ABOVE: Final = 2
"""The level of the page's heading above a description."""
LISTED_HEADINGS: Final = 7
"""A description with so many headings begins with links to them."""

_PHRASES: Final = frozenset(
    {"a", "abbr", "b", "cite", "code", "del", "em", "i", "kbd", "span", "strong", "sub", "sup"}
)
_BLOCKS: Final = frozenset({"blockquote", "details", "div", "figcaption", "figure", "p", "pre"})
_LISTS: Final = frozenset({"dd", "dl", "dt", "li", "ol", "summary", "ul"})
_TABLES: Final = frozenset({"caption", "table", "tbody", "td", "th", "thead", "tr"})
_SAME: Final = _PHRASES | _BLOCKS | _LISTS | _TABLES | {"br", "hr", "img", "input", "var"}
"""The elements that stay what they are."""
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
_CODE_CLASSES: Final = frozenset(filter(None, STANDARD_TYPES.values()))
_ADMONITIONS: Final = frozenset(
    {"attention", "caution", "danger", "error", "hint", "important", "note", "tip", "warning"}
)
_CLASSES: Final = {
    "div": _ADMONITIONS | {"admonition", "line", "line-block"},
    "p": frozenset({"admonition-title"}),
}
"""By the tag of a page. The style sheet knows them in descriptions alone."""
_CONTENTS: Final = frozenset({"contents", "contents topic"})
"""The classes that docutils gives to a list of all headings."""
_ABSOLUTE: Final = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
_HOST: Final = re.compile(r'href="https?://(?:www\.)?([^/"?#]+)', re.IGNORECASE)
_TOPS: Final = frozenset({"#top", f"#{ID_PREFIX}top"})
_ID_OF_TOP: Final = re.compile(rf'\sid="(?:{ID_PREFIX})?top"')
_UNNAMED: Final = frozenset(("", "image", "img"))
"""Alternative texts that say nothing. GitHub writes `image` for a picture that is pasted."""
_IMAGE: Final = "image"
"""Stands for the tag of what shows only images, in the parts of an element."""
_UNNAMED_IMAGE: Final = "unnamed-image"
"""Stands for a single linked image without a text of its own, whose text is `image` for now."""
_BADGE: Final = "badge"
"""Stands for a single image with a text that leads somewhere, above the second heading."""
_IMAGE_KINDS: Final = {_IMAGE: "i", _UNNAMED_IMAGE: "u", _BADGE: "l"}
_BADGES: Final = re.compile("b*l(?:b*l){3,}b*")
"""A row that is folded: four badges or more. Fewer have space on one line."""
_ROW: Final = re.compile("u(?:b*u)+|l(?:b*l){3,}|.")
"""Unnamed images, or badges, with only blanks and line breaks between them, or any other part."""
_FOLDING: Final = frozenset({"", "center", "div", "section"})
"""What may have a row of badges beside other parts. The empty one is the whole description."""
_BLANK: Final = re.compile(r"[\s\u200b-\u200f\ufeff]*")

PROCESSOR_SECONDS: Final = 1.0
"""Processor time for one description."""
MEMORY: Final = 256 * 1024**2
"""Address space of the process. Without a description it takes 40 MB."""
MAX_OUTPUT: Final = 2 * 1024**2
"""Characters of a rendered description."""
OPEN_FILES: Final = 16
Render = Callable[[str], str | None]
"""Returns a text as HTML, or None if it is no such markup."""
_FORBIDDEN: Final = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system")


class TooComplex(Exception):
    """There are too many elements within each other."""


class _Element(Struct):
    """An element whose end was not read yet."""

    tag: str
    attributes: dict[str, str]
    parts: list[tuple[str, str]] = []
    """The tag of each child, empty for text, and its HTML."""
    has_text: bool = False
    target: str = ""
    """Of a heading: the id that a link to it has, if the library has written one."""

    @property
    def html(self) -> str:
        """What is in the element, as HTML."""
        return "".join(_with_rows_of_images(self.parts, folds=self.tag in _FOLDING))


class _Heading(Struct):
    """A heading of a description, for the list of all."""

    level: int
    """It is 1 for the highest level of the description."""
    target: str
    """The id that a link to it has, without a prefix. It may be empty."""
    html: str
    """Its text, which may have a link of its own."""


def rewrite(html: str, *, is_own: bool = False) -> str:
    """
    Return sanitised HTML as a part of a page.

    `is_own`: it is our documentation, and has the page for itself.

    Raises TooComplex for elements that are nested too deeply.
    """
    has_top = _ID_OF_TOP.search(html) is not None
    rewriter = _Rewriter(is_own=is_own, has_top=has_top)
    rewriter.feed(html)
    rewriter.close()
    return rewriter.result()


class _Rewriter(HTMLParser):
    """
    Writes HTML again with the elements and attributes that a page may have.

    An element is written when its end is read: what becomes of it depends on what is in it.
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
        """Of the headings above the next text, as the author has numbered them."""
        self._has_contents = False
        """Whether the author has a list of the headings."""
        self._has_top = has_top
        """Whether an element has the id `top`. If not, `#top` is the top of the page (HTML)."""

    def result(self) -> str:
        """Return the HTML of all that was fed."""
        # what a stranger has not closed ends here
        while len(self._open) > 1:
            self._end()
        html = self._open[0].html
        is_short = len(self._headings) < LISTED_HEADINGS
        if is_short or self._is_own or self._has_contents:
            return html
        return _contents(self._headings) + html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        self._open.append(_Element(tag, {name: value or "" for name, value in attrs}))
        if len(self._open) > MAX_DEPTH:
            raise TooComplex
        if tag in _VOID:
            self._end()

    def handle_endtag(self, tag: str) -> None:
        """End an element, with all that is open in it, or nothing if there is no such one."""
        if any(element.tag == tag for element in self._open[1:]):
            while self._end() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Add text to the element that is open."""
        self._add("", escape(data, quote=False), has_text=_BLANK.fullmatch(data) is None)

    def _is_within(self, *tags: str) -> bool:
        return any(element.tag in tags for element in self._open)

    def _add(self, tag: str, html: str, *, has_text: bool) -> None:
        """Add a part to the element that is open."""
        parent = self._open[-1]
        parent.parts.append((tag, html))
        parent.has_text |= has_text

    def _end(self) -> str:
        """End the element that was begun last, and return its tag as the description has it."""
        element = self._open.pop()
        # `_other` may make another one of it
        written_tag = element.tag
        if element.tag in _HEADINGS:
            tag, html = self._heading(element)
        elif element.tag == "a":
            tag, html = self._link(element)
        elif element.tag == "img":
            tag, html = self._image(element)
        else:
            tag, html = self._other(element)
        self._add(tag, html, has_text=element.has_text)
        return written_tag

    def _id(self, element: _Element) -> str:
        """Return the attribute `id`, or an empty text if it is not valid or is there already."""
        name = element.attributes.get("id", "").removeprefix(ID_PREFIX)
        if not name or name in self._ids or any(character.isspace() for character in name):
            return ""
        self._ids.add(name)
        return f' id="{self._id_prefix}{escape(name)}"'

    def _heading(self, element: _Element) -> tuple[str, str]:
        """Return the tag of a heading in a page, and its HTML."""
        if not element.has_text:
            return "", element.html
        name = self._id(element)
        align = _align(element)
        if _has_only_unnamed_images(element):
            return "p", f"<p{name}{align}>{element.html}</p>"

        # by its place among the headings above: authors leave levels out
        level = int(element.tag[1])
        while self._levels and self._levels[-1] >= level:
            self._levels.pop()
        self._levels.append(level)
        target = element.target
        if name:
            target = element.attributes["id"]
        heading = _Heading(len(self._levels), target.removeprefix(ID_PREFIX), element.html)
        self._headings.append(heading)
        tag = f"h{min(self._heading_above + heading.level, 6)}"
        html = heading.html

        # a link has no other within it, and a press on a summary opens what is below it
        if not (self._is_own or self._is_within("a", "summary")):
            html = _linked(heading)
        return tag, f"<{tag}{name}{align}>{html}</{tag}>"

    def _link(self, element: _Element) -> tuple[str, str]:
        """Return the tag of a link in the parts of what it is in, and its HTML in a page."""
        target = element.attributes.get("href", "").strip()
        name = self._id(element)
        title = element.attributes.get("title", "")
        if title:
            title = f' title="{escape(title)}"'
        is_anchor = target.startswith("#") and len(target) > 1 and not self._is_within(*_HEADINGS)

        # a library may write an empty link into a heading, which has the id of the heading
        if target.startswith("#") and not element.has_text and self._open[-1].tag in _HEADINGS:
            self._open[-1].target = target[1:]
        if element.has_text and target in _TOPS and not self._has_top:
            # docutils writes it into the title of a table of contents
            return "a", f'<a href="#top"{name}{title}>{element.html}</a>'
        if element.has_text and is_anchor:
            anchor = escape(self._id_prefix + target[1:].removeprefix(ID_PREFIX))
            return "a", f'<a href="#{anchor}"{name}{title}>{element.html}</a>'
        if element.has_text and _ABSOLUTE.match(target):
            tag = self._tag_of_badge(_tag_of_link(element))
            return tag, f"<a {_outward(target)}{name}{title}>{element.html}</a>"
        if element.has_text and target and self._is_own:
            return _tag_of_link(element), f'<a href="{escape(target)}"{name}>{element.html}</a>'

        # a relative link leads to a file that is not here
        if _tag_of_link(element) == _UNNAMED_IMAGE:
            element.has_text = False
            return "", ""
        html = element.html
        if name:
            html = f"<span{name}>{html}</span>"
        return _tag_of_link(element), html

    def _image(self, element: _Element) -> tuple[str, str]:
        """Return what stands for the tag of an image, and its HTML: a link, or words."""
        source = element.attributes.get("src", "").strip()
        text = " ".join(element.attributes.get("alt", "").split())

        # docutils takes the address if there is no text
        is_named = text.casefold() not in _UNNAMED and text != source
        tag = _UNNAMED_IMAGE
        label = "image"
        if is_named:
            tag = _IMAGE
            label = escape(text)
        if not (is_named or self._is_own or self._is_within("a")):
            return "", ""  # without words for it, and no way to anything
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
        """Return the tag of a link in the parts of what it is in, where its tag is `tag` or a."""
        if tag == _IMAGE and len(self._headings) < 2:  # noqa: PLR2004
            return _BADGE
        return tag

    def _other(self, element: _Element) -> tuple[str, str]:
        """Return the tag of any other element in a page, empty for none, and its HTML."""
        if element.tag == "p" and _BADGES.fullmatch(_kinds(element.parts)):
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
            # a screen reader cannot name a column without a word
            if not element.has_text:
                tag = "td"
            attributes += _number(element, "colspan", 2) + _number(element, "rowspan", 2)
        elif tag in {"li", "dt", "dd", "summary"}:
            tag = self._list_part(tag)
        if tag not in _SAME or (tag == "span" and not attributes):
            return "", element.html
        return self._made(tag, attributes, element)

    def _made(self, tag: str, attributes: str, element: _Element) -> tuple[str, str]:
        """Return an element with its tag, mended where a screen reader would stumble over it."""
        html = element.html
        if tag in {"ul", "ol"}:
            # a list has only items
            items = list[str]()
            for name, part in element.parts:
                if name == "li" or not part.strip():
                    items.append(part)
                else:
                    items.append(f"<li>{part}</li>")
            html = "".join(items)
        elif tag == "dl" and not _is_definition_list(element):
            html = re.sub(r"<(/?)d[td]\b", r"<\1div", html)
            tag = "div"
        elif tag == "summary" and not element.has_text:
            html = "Details"
        elif tag == "table":
            # cells of headings alone are headings of nothing
            if "<td" not in html:
                html = re.sub(r"<(/?)th\b", r"<\1td", html)
            table = f"<table{attributes}>{html}</table>"
            frame = '<div class="scrolling" role="group" aria-label="Table" tabindex="0">'
            return "div", f"{frame}{table}</div>"
        return tag, f"<{tag}{attributes}>{html}</{tag}>"

    def _list_part(self, tag: str) -> str:
        """Return `tag`, or `div` if the element is not within what it has to be a part of."""
        parents = {"li": ("ul", "ol"), "summary": ("details",)}.get(tag, ("dl",))
        if self._open[-1].tag in parents:
            return tag
        return "div"

    def _classes(self, element: _Element) -> str:
        """Return the attribute `class` with the classes that the style sheet knows, or nothing."""
        tag = _RENAMED.get(element.tag, element.tag)
        classes = _CLASSES.get(tag, frozenset())
        # the classes of Pygments mean something within code alone
        if self._is_within("pre", "code"):
            classes = _CODE_CLASSES
        names = [name for name in element.attributes.get("class", "").split() if name in classes]
        if not names:
            return ""
        return f' class="{" ".join(names)}"'

    def _checkbox(self, element: _Element) -> str:
        """Return the box of a list of tasks (GitHub Flavored Markdown), or nothing for a field."""
        if element.attributes.get("type") != "checkbox":
            return ""
        state = ' aria-label="to do"'
        if "checked" in element.attributes:
            state = ' checked aria-label="done"'
        return f'<input type="checkbox" disabled{state}>'


def _tag_of_link(element: _Element) -> str:
    """Return the tag of a link in the parts of what it is in: `a`, or that of the image in it."""
    tags = [tag for tag, html in element.parts if tag or html.strip()]
    if not tags or any(tag not in _IMAGE_KINDS for tag in tags):
        return "a"
    if len(tags) > 1:
        return _IMAGE
    return tags[0]


def _with_rows_of_images(parts: Sequence[tuple[str, str]], *, folds: bool) -> Iterator[str]:
    """
    Yield the HTML of parts, with a blank between two images, and numbers for unnamed ones.

    `folds`: rows of badges are folded.
    """
    kinds = _kinds(parts)
    if not folds:
        kinds = kinds.replace("l", "i")
    for row in _ROW.finditer(kinds):
        start, stop = row.span()
        # two texts without a blank between them would be one word
        if re.fullmatch("[iul]{2}", kinds[max(start - 1, 0) : start + 1]):
            yield " "
        images = [html for tag, html in parts[start:stop] if tag in _IMAGE_KINDS]
        if len(images) < 2:  # noqa: PLR2004
            tag, html = parts[start]
            yield _named(tag, html)
        elif kinds[start] == "l":
            yield _folded(images)
        else:
            yield _numbered(images)


def _kinds(parts: Sequence[tuple[str, str]]) -> str:
    """Return a letter for each part, so that regular expressions find rows of images."""
    return "".join(map(_kind, parts))


def _kind(part: tuple[str, str]) -> str:
    """Return the letter of a part: `b` for a break or a blank, `o` for what is no image."""
    tag, html = part
    if tag in _IMAGE_KINDS:
        return _IMAGE_KINDS[tag]
    is_blank = not (tag or html.strip())
    if tag == "br" or is_blank:
        return "b"
    return "o"


def _has_only_unnamed_images(element: _Element) -> bool:
    return set(_kinds(element.parts)) <= {"b", "u"}


def _folded(badges: Sequence[str]) -> str:
    """Return the HTML of badges in a row, of which one sees how many there are."""
    # the first text without a direction of its own decides that of the description
    summary = f'<summary dir="ltr">{len(badges)} badges</summary>'
    return f'<details class="badges">{summary}{" ".join(badges)}</details>'


def _linked(heading: _Heading) -> str:
    """Return the HTML in a heading: a link to it, unless there is a link within it."""
    if not heading.target or "<a " in heading.html:
        return heading.html
    return f'<a href="#{ID_PREFIX}{escape(heading.target)}">{heading.html}</a>'


def _contents(headings: Sequence[_Heading]) -> str:
    """Return a fold-out of links to headings, in lists within each other."""
    pieces = ['<details class="contents"><summary dir="ltr">On this page</summary>']
    depth = 0
    for heading in headings:
        text = re.sub("<[^>]*>", "", heading.html).strip()
        if not heading.target:
            continue
        # a heading without a target may have been between the last one and this
        level = min(heading.level, depth + 1)
        if level > depth:
            pieces.append("<ul>")
        else:
            pieces.append("</li>" + "</ul></li>" * (depth - level))
        # the item stays open for the list of what is below the heading
        pieces.append(f'<li><a href="#{ID_PREFIX}{escape(heading.target)}">{text}</a>')
        depth = level
    pieces.append("</li></ul>" * depth)
    pieces.append("</details>\n")
    return "".join(pieces)


def _named(tag: str, html: str) -> str:
    """Return the HTML of a part, where an image without a text has the host that it leads to."""
    host = _HOST.search(html)
    if tag != _UNNAMED_IMAGE or host is None:
        return html
    return html.replace(">image<", f">{host[1]}<")


def _numbered(images: Sequence[str]) -> str:
    """Return the HTML of images in a row, each with a number as its text."""
    if not any("href=" in html for html in images):  # within one link
        return f"<span>{len(images)} images</span>"
    links = list[str]()
    for number, html in enumerate(images, start=1):
        links.append(html.replace(">image<", f">{number}<"))
    return f"<span>images {' '.join(links)}</span>"


def _outward(target: str) -> str:
    """Return the attributes of a link to another site, which is told nothing of this page."""
    return f'href="{escape(target)}" rel="nofollow noopener noreferrer"'


def _align(element: _Element) -> str:
    """Return the attribute `align`, or an empty text if the element has none that is valid."""
    value = element.attributes.get("align", "").lower()
    if element.tag in _ALIGNED and value in {"left", "center", "right"}:
        return f' align="{value}"'
    return ""


def _number(element: _Element, name: str, digits: int) -> str:
    """Return an attribute, or an empty text if it is no number of so many digits at most."""
    value = element.attributes.get(name, "")
    if value.isascii() and value.isdecimal() and len(value) <= digits:
        return f' {name}="{value}"'
    return ""


def _is_definition_list(element: _Element) -> bool:
    """Return whether an element has terms with their definitions, and nothing else."""
    tags = [tag for tag, html in element.parts if tag or html.strip()]
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
        # SIGPROF ends the process, and the parent takes that for its answer
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
        answer = _answer(render, request["text"], is_own=request["own"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)


def _write(message: dict[str, str]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def _renderer(markup: str) -> Render:
    """Return the function that renders a markup."""
    # imported by the first description that needs it: docutils would take three quarters of the
    # time that this process needs to start
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
    """Take from this process what rendering does not need."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")  # a machine without memory ends this process, not the server
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for limit, value in limits.items():
        with suppress(OSError, ValueError):  # macOS knows no limit of address space
            resource.setrlimit(limit, (value, value))
    mimetypes.init([])  # docutils asks it about images; it would read files of this machine
    sys.dont_write_bytecode = True

    # some installers link the files of packages to those of a cache
    code = tuple(os.path.abspath(path) for path in sys.path if path)  # noqa: PTH100

    # an audit hook cannot be taken away again, not even by code that a description might run
    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            # lexers and languages are imported by the first description that needs them
            path = arguments[0]
            if not isinstance(path, str) or not os.path.abspath(path).startswith(code):  # noqa: PTH100
                raise PermissionError(path)
        elif event.startswith(_FORBIDDEN):
            raise PermissionError(event)

    sys.addaudithook(refuse)


if __name__ == "__main__":
    main()
