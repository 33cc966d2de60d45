"""Links of pages: as browsers find them, in one way through a page, whatever it holds."""

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wheelyard.http_client.hosts import FetchError
from wheelyard.sources.simple_page import Link, read_links

DIGEST = "0" * 64
PAGES = {
    "legacy": f"""<!DOCTYPE html>
<html>
  <head>
    <meta name="pypi:repository-version" content="1.1">
    <title>Links for a</title>
  </head>
  <body>
    <h1>Links for a</h1>
    <a href="https://files.example.com/a-1.tar.gz#sha256={DIGEST}"
       data-requires-python="&gt;=3.8" data-yanked="&quot;bad&quot; &amp; old"
    >a-1.tar.gz</a><br />
  </body>
</html>
<!--SERIAL 28218112-->""",
    "dumb-pypi": """<!doctype html><html lang="en"><head><meta charset="utf-8">
<style>a > b::after { content: "<a href='no'>"; }</style>
<script>document.write("<a href=\\"x\\">" + 1 < 2);</script></head>
<body class="package"><p>Generated on <time datetime='now'>now</time>.</p><ul><li>
<a href="../../pool/a-1.zip#sha256=0&amp;x=1" data-core-metadata=true>a</a> (now)</li></ul>""",
    "apache": """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN"><table>
<tr><th><a href="?C=N;O=D">Name</a></th></tr><tr><td valign="top"><img src="/icons/back.gif"
alt="[PARENTDIR]"></td><td><a href="/">Parent</a></td></tr><base href='/x/'><base href=/y/>""",
}


class Reference(HTMLParser):
    """The standard library's way."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found = list[Link]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link."""
        known = dict(reversed(attrs))
        href = known.get("href")
        if tag == "base" and href:
            self.base = self.base or href
        elif tag == "a" and href:
            yanked, required = (
                known[name] or "" if name in known else None
                for name in ("data-yanked", "data-requires-python")
            )
            names = ("data-core-metadata", "data-dist-info-metadata")
            core = [known[name] or "" for name in names if name in known]
            self.found.append(Link(href, yanked, required, core[0] if core else None))


def by_the_library(text: str) -> tuple[str, list[Link]]:
    """Return what html.parser finds."""
    reference = Reference()
    reference.feed(text)
    reference.close()
    return reference.base, reference.found


def read(text: str, content_type: str = "text/html") -> tuple[str, list[Link]]:
    """Return what is found."""
    return read_links(text.encode(), content_type, 1_000_000)


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_other_systems(name: str) -> None:
    """Pages as other systems make them have the links that the standard library finds."""
    found = read(PAGES[name])

    assert found == by_the_library(PAGES[name])
    assert found[1]


@pytest.mark.parametrize(
    ("text", "hrefs"),
    [
        ("<!-- <a href=x> --><a href=y>", ["y"]),
        ("<!--><a href=x><!---><a href=y>", ["x", "y"]),
        ("<!-- <a href=x>", []),
        ("<![zz]><a href=x><!doctype <a href=y>", ["x"]),
        ("<a href=x/y/>1</a><a/href='z'/>", ["x/y/", "z"]),
        ("<a href = ' x ' href=y><a HREF=y>", [" x ", "y"]),
        ("<a ='href' href=x><a =href=y>", ["x"]),
        ("<script><a href=x></Script ><a href=y>", ["y"]),
        ("<title><a href=x></titles></title><a href=y>", ["y"]),
        ("<abbr href=x><a-b href=y>< a href=z><a\fhref=1>", ["1"]),
        ("<a href='x><a href=y>", []),
        ("<a href=x", []),
        ("</a href='>'><a href=x>", ["x"]),
    ],
)
def test_what_is_written_oddly(text: str, hrefs: list[str]) -> None:
    """Whatever a person has written is read as a browser reads it."""
    assert [each.href for each in read(text)[1]] == hrefs


PIECES = ["<a ", "<a '", "<!--", "<a href=", "<a href='", "</", "<!", "<script>", "<title", "<a x"]
PIECES += ["<", "<a =", "<a/", "<![zz]", "<!-->", "<?", "-->", ">", "'", '"', " ", "/", "\0", "é"]
PIECES += ["</script>", "&#99999999999;", "href", "<base ", "&amp;", "x"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=9)), st.integers(1, 30))
@example(["&#" + 9999 * "9"], 1)
def test_no_text_is_a_fault(parts: list[str], times: int) -> None:
    """A page of any text is read without an error."""
    read("".join(parts) * times)


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_work_is_linear(piece: str) -> None:
    """A megabyte of anything is read in time: at a cost of its square, it would take hours."""
    read(piece * (1024**2 // len(piece)))


@given(st.binary(), st.sampled_from(["undefined", "idna", "punycode", "utf-7", "latin1", "é", ""]))
def test_bytes_of_any_kind_are_read(body: bytes, charset: str) -> None:
    """Bytes of any kind, under any name of letters, are read."""
    read_links(body, f"text/html; charset={charset}", 10)


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "utf-8"),
        ("; charset=UTF-8", "utf-8"),
        ("; charset=ISO-8859-1", "latin-1"),
        ('; charset="windows-1252"', "cp1252"),
    ],
    ids=["none", "utf-8", "latin", "windows"],
)
def test_letters_are_read_by_the_charset_of_the_answer(charset: str, codec: str) -> None:
    """A link has the letters that its page shows in a browser, by the charset of the answer."""
    _, links = read_links("<a href=é>".encode(codec), f"text/html{charset}", 10)

    assert [each.href for each in links] == ["é"]


@pytest.mark.parametrize("text", ["<a href=x>" * 11, f"<base href='{'x' * 2049}'>"])
def test_a_page_with_too_many_links_is_refused(text: str) -> None:
    """A page of more links than anybody has files, or with a base without end, is refused."""
    with pytest.raises(FetchError):
        read_links(text.encode(), "", 10)
