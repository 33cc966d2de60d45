"""How the HTML of a description becomes a part of a page."""

import re

import pytest

from wheelyard.operations.descriptions.child import MAX_DEPTH, TooComplex, rewrite

BADGE = '<a href="https://c.example"><img alt="Build" src="https://a.example/b"></a>'
UNNAMED = BADGE.replace("Build", "")
ABSOLUTE = "https://a.example/b"
UNLINKED = f'<img alt="" src="{ABSOLUTE}">'
OUTWARD = 'rel="nofollow noopener noreferrer"'
SHOWN_UNNAMED = f'<a href="https://c.example" {OUTWARD}><span>c.example</span></a>'


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ('<a href="https://a.example">a <b>b</b></a>', ["a <b>b</b>"]),
        ('<a href="https://a.example"> </a>', []),
        ('<a href="docs/x.md"></a>', []),
        (UNNAMED, ["<span>c.example</span>"]),
    ],
)
def test_links_show_their_text(html: str, links: list[str]) -> None:
    """A link keeps its text, one without a text is none, and that of a picture has a host."""
    assert re.findall("<a [^>]*>(.*?)</a>", rewrite(f"<p>{html}</p>")) == links


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ('<a href="#files">Files</a>', '<a href="#user-content-files">Files</a>'),
        ('<a href="#top">Up</a>', '<a href="#top">Up</a>'),
        (
            '<b id="top">A</b><a href="#top">Up</a>',
            '<b id="user-content-top">A</b><a href="#user-content-top">Up</a>',
        ),
        ('<a href="docs/x.md">Text</a>', "Text"),
        ('<a href="LICENSE"><img src="https://a.example/b"></a>', ""),
    ],
    ids=["to-an-id", "to-the-top", "to-an-own-top", "to-a-file", "of-a-picture-to-a-file"],
)
def test_a_link_leads_to_a_place_of_the_description(html: str, shown: str) -> None:
    """A link within a description leads there, and one to a file that is not there is none."""
    assert rewrite(f"<p>{html}</p>") == f"<p>{shown}</p>"


def test_our_documentation_has_links_to_its_pages() -> None:
    """A page of our documentation keeps its links to other pages, which are there."""
    html = '<p><a href="../install/">Install</a></p>'

    assert rewrite(html, is_own=True) == html


@pytest.mark.parametrize(
    ("between", "is_folded"), [("", True), (" \n", True), ("<br>", True), (" or ", False)]
)
def test_only_blanks_are_between_folded_badges(between: str, *, is_folded: bool) -> None:
    """Badges are folded if nothing is between them but blanks and line breaks."""
    html = rewrite(f"<p>{between.join([BADGE] * 4)}</p>")

    assert ('<summary dir="ltr">4 badges</summary>' in html) is is_folded


def test_a_field_that_is_left_out_changes_nothing_around_it() -> None:
    """A field that is no checkbox is not shown, and what is around it is as without the field."""
    with_field = BADGE.replace("</a>", '<input type="text"></a>')

    assert rewrite(f"<p>{with_field * 4}</p>") == rewrite(f"<p>{BADGE * 4}</p>")
    terms = "<dl><dt>a</dt><dd>b</dd></dl>"
    assert rewrite(terms.replace("<dt>", '<input type="text"><dt>')) == rewrite(terms)


@pytest.mark.parametrize(
    ("parts", "html"),
    [
        (
            "<dt>a</dt><dt>b</dt><dd>c</dd><dd>d</dd>",
            "<dl><dt>a</dt><dt>b</dt><dd>c</dd><dd>d</dd></dl>",
        ),
        (
            "<dd>a</dd><dt>b</dt><dd>c</dd>",
            "<div><div>a</div><div>b</div><div>c</div></div>",
        ),
        (
            "<dt>a</dt><dd>b</dd><dt>c</dt>",
            "<div><div>a</div><div>b</div><div>c</div></div>",
        ),
        ("<dt>a</dt><p>b</p><dd>c</dd>", "<div><div>a</div><p>b</p><div>c</div></div>"),
        ("<p>a</p>", "<div><p>a</p></div>"),
        ("", "<div></div>"),
    ],
    ids=["terms", "no-first-term", "no-last-definition", "a-paragraph-between", "text", "empty"],
)
def test_only_terms_with_definitions_are_a_list_of_them(parts: str, html: str) -> None:
    """A list of terms stays one if each has a definition and nothing else is there."""
    assert rewrite(f"<dl>{parts}</dl>") == html


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ('<div class="own note">a</div>', '<div class="note">a</div>'),
        ('<div class="own">a</div>', "<div>a</div>"),
        ('<pre><span class="k own">a</span></pre>', '<pre><span class="k">a</span></pre>'),
    ],
    ids=["a-note", "of-the-author-alone", "code"],
)
def test_only_known_classes_are_kept(html: str, shown: str) -> None:
    """A description keeps the classes of notes and of coloured code, and no others."""
    assert rewrite(html) == shown


@pytest.mark.parametrize("before", ["", "Text "])
def test_images_side_by_side_are_two_words(before: str) -> None:
    """The texts of two images without a blank between them are two words, also at the beginning."""
    html = rewrite(f'<p>{before}<img alt="Build" src="b.png"><img alt="Tests" src="t.png"></p>')

    assert re.sub("<[^>]*>", "", html).strip() == f"{before}Build Tests"


def test_links_of_images_without_a_text_are_numbered() -> None:
    """Of images without a text in a row, each is a number that leads where the image leads."""
    html = rewrite(f"<p>{UNNAMED}{UNNAMED.replace('c.example', 'd.example')}</p>")

    links = re.findall('<a href="([^"]*)"[^>]*>(.*?)</a>', html)
    assert re.sub("<[^>]*>", "", html).strip() == "images 1 2"
    assert [(url, re.sub("<[^>]*>", "", text)) for url, text in links] == [
        ("https://c.example", "1"),
        ("https://d.example", "2"),
    ]


def test_a_heading_without_a_word_is_no_name_of_a_column() -> None:
    """The empty corner of a table is a cell, its other headings stay, and cells have their span."""
    corner, name, cell = "<th></th>", "<th>Name</th>", '<td colspan="2" rowspan="3">a</td>'

    html = rewrite(f"<table><tr>{corner}{name}</tr><tr>{cell}</tr></table>")

    rows = f"<tr><td></td>{name}</tr><tr>{cell}</tr>"
    assert re.findall("<tr>.*</tr>", html) == [rows]


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ("<th>Name</th><td>a</td>", "<th>Name</th><td>a</td>"),
        ("<th>a</th><th>b</th>", "<td>a</td><td>b</td>"),
    ],
    ids=["a-heading-and-a-cell", "headings-alone"],
)
def test_a_wide_table_is_scrolled_by_itself(cells: str, shown: str) -> None:
    """A table is in a frame of its own that keys reach and scroll, and headings alone are cells."""
    frame = '<div class="scrolling" role="group" aria-label="Table" tabindex="0">'
    html = rewrite(f"<table><tr>{cells}</tr></table>")
    assert html.strip() == f"{frame}<table><tr>{shown}</tr></table></div>"


@pytest.mark.parametrize(
    ("heading", "shown"),
    [
        ("<h1></h1>", ""),
        ('<h1><img src="logo.png"></h1>', ""),
        ("<h1><hr></h1>", "<hr>"),
        (f'<h1 id="logo">{UNNAMED}</h1>', f'<p id="user-content-logo">{SHOWN_UNNAMED}</p>'),
    ],
    ids=["empty", "a-picture-that-is-not-shown", "a-line", "a-linked-picture"],
)
def test_what_has_no_words_is_no_heading(heading: str, shown: str) -> None:
    """A heading without a word is not read out as one, and the next one is the highest."""
    assert rewrite(f"{heading}<h2>Acme</h2>") == f"{shown}<h3>Acme</h3>"


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<ul><p>Acme</p><li>Core</li></ul>", "<ul><li><p>Acme</p></li><li>Core</li></ul>"),
        ("<ol>Acme</ol>", "<ol><li>Acme</li></ol>"),
    ],
    ids=["paragraph", "text"],
)
def test_what_is_in_a_list_is_an_item(html: str, shown: str) -> None:
    """What an author has put into a list beside its items is shown as an item."""
    assert rewrite(html).strip() == shown


def test_too_many_elements_within_each_other_are_refused() -> None:
    """A description of more elements within each other than the limit is too complex to show."""
    depth = MAX_DEPTH - 1
    assert rewrite("<b>" * depth + "a") == "<b>" * depth + "a" + "</b>" * depth

    with pytest.raises(TooComplex):
        rewrite("<b>" * MAX_DEPTH + "a")


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ('<h1 align="center">Acme</h1>', '<h3 align="center">Acme</h3>'),
        ('<p align="RIGHT">Acme</p>', '<p align="right">Acme</p>'),
        ('<p align="justify">Acme</p>', "<p>Acme</p>"),
        ('<ul align="center"><li>Acme</li></ul>', "<ul><li>Acme</li></ul>"),
    ],
)
def test_texts_are_aligned_as_their_author_says(html: str, shown: str) -> None:
    """Headings and paragraphs are at the left, the right or in the middle, and no list is."""
    assert rewrite(html).strip() == shown


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        (f"<p>Text{UNLINKED}</p>", "<p>Text</p>"),
        ('<p><img alt="Logo" src="b.png"></p>', "<p><span>Logo</span></p>"),
        (
            f'<p><img alt="Logo" src="{ABSOLUTE}"></p>',
            f'<p><a href="{ABSOLUTE}" {OUTWARD}>Logo</a></p>',
        ),
        (
            f'<a href="https://c.example">{UNLINKED} <img alt="Tests" src="t.png"></a>',
            f'<a href="https://c.example" {OUTWARD}><span>image</span> <span>Tests</span></a>',
        ),
        (
            f'<a href="https://c.example">{UNLINKED * 2}</a>',
            f'<a href="https://c.example" {OUTWARD}><span>2 images</span></a>',
        ),
    ],
    ids=["without a text", "of a file", "of another site", "two in a link", "unnamed in a link"],
)
def test_images_are_links_or_their_texts(html: str, shown: str) -> None:
    """No image is loaded: it is a link, or its text, or nothing if it has none."""
    assert rewrite(html) == shown


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        (
            '<p><img alt="" src="images/a.svg" width="80%" height="9em"></p>',
            '<p><img src="images/a.svg" alt="image" loading="lazy" width="80%"></p>',
        ),
        (
            f'<p><img alt="Logo" src="{ABSOLUTE}"></p>',
            f'<p><a href="{ABSOLUTE}" {OUTWARD}>Logo</a></p>',
        ),
    ],
    ids=["of the documentation", "of another site"],
)
def test_our_documentation_shows_its_own_images(html: str, shown: str) -> None:
    """Our documentation shows its own images, also without a text, and no other site's."""
    assert rewrite(html, is_own=True) == shown


@pytest.mark.parametrize("tag", ["center", "span", "font"])
def test_elements_that_say_nothing_are_left_out(tag: str) -> None:
    """Of an element that no page may have, or that has no attribute, only the text is left."""
    assert rewrite(f"<p><{tag}>Acme</{tag}></p>") == "<p>Acme</p>"


def test_only_headings_with_an_id_are_listed() -> None:
    """The list above many headings leaves out those that no link leads to."""
    with_id = "".join(f'<h2 id="part-{number}">Part {number}</h2>' for number in range(6))

    contents = rewrite(f"<h1>Acme</h1>{with_id}").partition("</details>")[0]

    links = [(f"part-{number}", f"Part {number}") for number in range(6)]
    assert re.findall('<a href="#user-content-([^"]*)">([^<]*)</a>', contents) == links
    assert "Acme" not in contents


def test_headings_are_listed_in_lists_within_each_other() -> None:
    """The list above many headings has a list of its own below each heading that has others."""
    levels = (1, 2, 3, 3, 2, 1, 2)
    html = "".join(f'<h{level} id="{nth}">{nth}</h{level}>' for nth, level in enumerate(levels))

    contents = rewrite(html).partition("</summary>")[2].partition("</details>")[0]

    assert re.sub("</?a[^>]*>", "", contents) == (
        "<ul><li>0<ul><li>1<ul><li>2</li><li>3</li></ul></li><li>4</li></ul></li>"
        "<li>5<ul><li>6</li></ul></li></ul>"
    )
