"""What becomes of descriptions, honest and hostile ones."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer
from time import monotonic

import nh3
import pytest
from msgspec.json import decode
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from tests import waiting
from tests.fake_store import Before, FakeStore, Pause
from tests.fake_time import Clock
from wheelyard.catalog import keys
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.operations.descriptions.child_process import RenderProcess
from wheelyard.operations.descriptions.descriptions import (
    KEPT_SECONDS,
    MAX_LENGTH,
    Descriptions,
    remove_old,
    renderer,
)
from wheelyard.storage.base import Stored
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore

pytestmark = pytest.mark.integration

MARKDOWN = "text/markdown"
RST = "text/x-rst"


@pytest.fixture(scope="module")
def descriptions() -> Iterator[Descriptions]:
    """Return a renderer whose process lives as long as the tests of this module."""
    made = Descriptions(new_store(), monotonic, waits=True)
    yield made
    made.close()


def new_store() -> MemoryStore:
    """Return an empty store."""
    return MemoryStore(Clock().seconds)


def core(content: str, content_type: str = MARKDOWN) -> CoreMetadata:
    """Return core metadata with a description."""
    empty = parse_any(None, canonicalize_name("acme"), "1")
    return replace(empty, description=content, description_content_type=content_type)


def shown(descriptions: Descriptions, content: str, content_type: str = MARKDOWN) -> str:
    """Return the HTML of a description."""
    rendered = descriptions.render(core(content, content_type))
    assert rendered.is_final
    return rendered.html


def processes() -> set[int]:
    """Return the processes for descriptions among the children of this one, also dead ones."""
    children = set[int]()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            children.update(map(int, (task / "children").read_text().split()))
    return {each for each in children if b"descriptions.child" in _command_line(each)}


def _command_line(process: int) -> bytes:
    try:
        # a dead process has none
        return Path(f"/proc/{process}/cmdline").read_bytes() or b"descriptions.child"
    except (FileNotFoundError, ProcessLookupError):  # it has just been waited for
        return b""


def test_markdown_looks_as_on_pypi(descriptions: Descriptions) -> None:
    """A table, a task list and code of Markdown look as they do on PyPI."""
    html = shown(descriptions, "|a|b|\n|-|-|\n|1|`2`|\n\n- [x] done\n\n```python\nx = 1\n```\n")
    assert "<td>1</td>" in html
    assert "<code>2</code>" in html
    assert 'disabled checked aria-label="done"> done' in html
    assert '<pre><span class="n">x</span>' in html


def test_restructured_text_is_rendered(descriptions: Descriptions) -> None:
    """ReStructuredText is rendered, also if the author has not named the type."""
    text = "Title\n=====\n\n.. note:: *read*\n"
    assert "<h3>" in shown(descriptions, text, RST)
    assert "<em>read</em>" in shown(descriptions, text, "")


def test_packages_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptions are rendered where packages are links to the files of an installer's cache."""
    linked, packages = tmp_path / "linked", Path(nh3.__file__).parents[1]
    subprocess.run(["cp", "-rs", packages, linked], check=True)
    others = [folder for folder in sys.path if not packages.is_relative_to(folder or "/")]
    monkeypatch.setattr(sys, "path", [str(linked), *others])
    made = Descriptions(new_store(), monotonic, waits=True)

    try:
        assert "<em>read</em>" in shown(made, "*read*")
        assert "<em>read</em>" in shown(made, "*read*", RST)
        assert '<span class="n">x</span>' in shown(made, "```python\nx = 1\n```\n")
    finally:
        made.close()


def test_plain_text_stays_as_it_is(descriptions: Descriptions) -> None:
    """Plain text stays as it is, and so does what is no reStructuredText."""
    plain = shown(descriptions, "a *b*\r\n <i>", "text/plain; charset=UTF-8")
    assert plain == '<pre tabindex="0">a *b*\n &lt;i&gt;</pre>'
    assert "not valid reStructuredText" in shown(descriptions, "`a", RST)
    assert shown(descriptions, "`a", "") == '<pre tabindex="0">`a</pre>'


def test_classes_are_those_of_admonitions(descriptions: Descriptions) -> None:
    """An admonition keeps its class, and nothing else gets one that pages use."""
    note = shown(descriptions, ".. note::\n   Read this.\n", RST)
    assert re.search(r'<div class="(admonition )?note">\s*<p class="admonition-title">', note)
    plain = shown(descriptions, '<p class="error danger">a</p> <span class="warning">b</span>\n')
    assert "class=" not in plain


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        ("", "A slow tool."),
        ("; variant=GFM", "A slow tool."),
        ("; variant=CommonMark", "A ~~slow~~ tool."),
    ],
    ids=["none", "gfm", "commonmark"],
)
def test_the_variant_of_markdown(descriptions: Descriptions, variant: str, text: str) -> None:
    """Markdown is that of GitHub, unless the author says that it is CommonMark."""
    html = shown(descriptions, "A ~~slow~~ tool.", MARKDOWN + variant)
    assert text_of(html) == text


@pytest.mark.parametrize("content_type", [MARKDOWN, f"{MARKDOWN}; variant=CommonMark", RST, ""])
def test_hostile_html_is_removed(descriptions: Descriptions, content_type: str) -> None:
    """Nothing that a browser would run is left of a description of any type."""
    html = shown(
        descriptions,
        "<script>alert(1)</script> <style>a{}</style> <svg onload=alert(1)><a href=x></svg>\n\n"
        "<img src=x onerror=alert(1)> <iframe src=//evil.example></iframe> <math><mi//xlink:href>\n"
        "[a](javascript:alert(1)) [b](JaVa&#115;cript:x) [c](vbscript:x) [d](data:text/html,x)\n"
        "`e <javascript:alert(1)>`_ <p style='position:fixed' class='notice' onclick=x>f</p>\n"
        "<form action=//evil.example><button>g</button></form> <a href='&#1;javascript:x'>h</a>\n",
        content_type,
    )
    tags = re.findall(r"<[^>]*>", html)
    assert not [tag for tag in tags if re.search(r"script|style|svg|frame|form|\son|data:", tag)]
    assert "notice" not in "".join(tags)


@pytest.mark.parametrize(
    "text",
    [
        ".. include:: /etc/passwd\n",
        ".. csv-table::\n   :file: /etc/passwd\n",
        ".. csv-table::\n   :url: http://127.0.0.1:9/x\n",
        ".. raw:: html\n\n   <b id=x>\n",
        ".. raw:: html\n   :file: /etc/passwd\n",
        ".. role:: html(raw)\n   :format: html\n\n:html:`<b id=x>`\n",
        ".. image:: https://a.example/x\n   :target: javascript:x\n",
    ],
)
def test_no_directive_reads_a_file_or_a_url(descriptions: Descriptions, text: str) -> None:
    """No directive of reStructuredText reads a file or a URL, or writes HTML."""
    html = shown(descriptions, text, RST)
    assert "root:" not in html
    assert not re.search(r"<b|<[^>]*javascript", html)


def test_an_image_of_another_server_is_a_link(descriptions: Descriptions) -> None:
    """An image of another server is a link to it, so that no other server learns who reads."""
    text = (
        "![logo](https://a.example/x) ![old](http://b.example/y) ![mine](docs/z.png) "
        "[![badge](https://c.example/z)](https://d.example) ![](data:image/png;base64,AA)"
    )
    html = shown(descriptions, text)
    assert "<img" not in html
    assert 'href="https://a.example/x"' in html
    assert re.search(r'<a href="https://d.example"[^>]*><span>badge</span></a>', html)


def text_of(html: str) -> str:
    """Return the text that a reader sees of one line of HTML."""
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


@pytest.mark.parametrize(
    ("content_type", "text", "seen"),
    [
        (MARKDOWN, "[![Build](https://a.example/b)](https://c.example)" * 2, "Build Build"),
        (MARKDOWN, "Text ![](https://a.example/b)", "Text"),
        (MARKDOWN, "# ![](https://a.example/b)\n\nText", "Text"),
        (MARKDOWN, "Text ![](https://a.example/b) ![image](https://a.example/c)", "Text"),
        (MARKDOWN, "[![](https://a.example/b)](https://www.c.example/d)", "c.example"),
        (MARKDOWN, "[![](https://a.example/b)](https://c.example)\n" * 3, "images 1 2 3"),
        (MARKDOWN, "Text [![](https://a.example/b)](LICENSE)", "Text"),
        (MARKDOWN, "![](a.png) ![](b.png) and ![Build](c.png)", "and Build"),
        (MARKDOWN, "[![](https://a.example/b) ![](c.png)](https://c.example)", "2 images"),
        (MARKDOWN, "![](a.png)![Tests](https://a.example/b)![](c.png)", "Tests"),
        (RST, "Text\n\n.. image:: https://a.example/b\n", "Text"),
        (RST, ".. image:: https://a.example/b\n   :alt: Build\n", "Build"),
    ],
)
def test_images_without_a_text_are_numbered(
    descriptions: Descriptions, content_type: str, text: str, seen: str
) -> None:
    """Images show their texts; without one, only links are there, with hosts or numbers."""
    assert text_of(shown(descriptions, text, content_type)) == seen


def test_each_number_leads_where_its_image_leads(descriptions: Descriptions) -> None:
    """Each number leads where the image leads."""
    images = (f"[![](https://a.example/b)](https://{host}.example)" for host in "cd")
    html = shown(descriptions, " ".join(images))
    assert re.findall(r'<a href="([^"]*)"', html) == ["https://c.example", "https://d.example"]


def test_headings_fit_the_page_and_ids_have_a_prefix(descriptions: Descriptions) -> None:
    """Headings fit below those of the page, and no id is one of the page's own."""
    text = "# A\n\n#### B\n\n## C\n\n<p id=files>x</p><h1></h1>\n\n[to C](#c) [f](#files)\n"
    html = shown(descriptions, text)
    assert re.findall(r"<(h\d)", html) == ["h3", "h4", "h4"]
    ids = re.findall(r' id="([^"]*)"', html)
    assert all(identifier.startswith("user-content-") for identifier in ids)
    targets = re.findall(r'href="#([^"]*)">(?:to C|f)<', html)
    assert targets == ["user-content-c", "user-content-files"]


@pytest.mark.parametrize(
    ("heading", "content_type"),
    [
        ("## Set *up*", MARKDOWN),
        ("Set *up*\n--------", RST),
        ('<h2 id="set-up">Set up</h2>', MARKDOWN),
    ],
)
def test_a_heading_is_a_link_to_itself(
    descriptions: Descriptions, heading: str, content_type: str
) -> None:
    """A heading is a link to itself, so that people can send it to others."""
    html = shown(descriptions, f"{heading}\n\nText.\n", content_type)
    assert 'id="user-content-set-up"' in html
    assert re.search(
        r'<h3[^>]*><a href="#user-content-set-up">Set (<em>)?up(</em>)?</a></h3>', html
    )


@pytest.mark.parametrize(
    "text",
    [
        "## [1.0](https://a.example)",
        '<a href="https://a.example"><h2 id="x">1.0</h2></a>',
        '<details><summary><h2 id="x">1.0</h2></summary></details>',
    ],
)
def test_a_heading_keeps_what_a_press_on_it_does(descriptions: Descriptions, text: str) -> None:
    """A heading that is a link, or that opens something, does only that."""
    html = shown(descriptions, text)
    assert "1.0" in html
    assert 'href="#' not in html


def sections(count: int) -> str:
    """Return Markdown with a title, and as many headings below it, each with one of its own."""
    return "# Acme\n\n" + "".join(
        f"## Part {each}\n\nText.\n\n### Why\n\n" for each in range(count)
    )


def test_many_headings_are_listed_above_them(descriptions: Descriptions) -> None:
    """A description with more than six headings begins with a fold-out of links to them."""
    html = shown(descriptions, sections(3))
    contents, _, rest = html.partition("</details>")

    assert contents.startswith('<details class="contents"><summary dir="ltr">On this page<')
    links = re.findall(r'<a href="#([^"]*)">([^<]*)</a>', contents)
    texts = [text for _, text in links]
    assert texts == ["Acme", "Part 0", "Why", "Part 1", "Why", "Part 2", "Why"]
    assert [target for target, _ in links] == re.findall(r'<h\d id="([^"]*)"', rest)
    assert contents.count("<ul>") == 1 + 1 + 3


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("# Acme\n\n" + "## Part\n\n" * 5, MARKDOWN),
        (".. contents::\n\n" + "".join(f"P{each}\n==\n\nText.\n\n" for each in range(9)), RST),
    ],
)
def test_few_headings_are_not_listed(
    descriptions: Descriptions, text: str, content_type: str
) -> None:
    """Six headings are not listed, and neither are those that the author has listed."""
    assert "On this page" not in shown(descriptions, text, content_type)


def test_headings_without_an_id_are_not_listed(descriptions: Descriptions) -> None:
    """Only headings that a link can lead to are listed, in lists that are whole."""
    html = shown(descriptions, "<h1>A</h1>\n\n<h2>B</h2>\n\n### C\n\n# D\n\n" + "## E\n\n" * 3)
    contents = html.partition("</details>")[0]
    assert text_of(contents) == "On this pageCDEEE"
    assert contents.count("<ul>") == contents.count("</ul>")
    assert contents.count("<li>") == contents.count("</li>")


BADGE = "[![Build](https://a.example/b)](https://c.example)\n"


@pytest.mark.parametrize(
    ("content_type", "text", "count"),
    [
        (MARKDOWN, "# Acme\n\n" + BADGE * 7, 7),
        (MARKDOWN, BADGE * 3 + "![Tests](https://a.example/t)", 4),
        (MARKDOWN, "<div align='center'>\n\n# Acme\n\n" + BADGE * 5 + "\n\nText\n\n</div>", 5),
        (RST, "Acme\n====\n\n" + ".. image:: https://a.example/b\n   :alt: b\n" * 4 + "\nText", 4),
    ],
)
def test_a_row_of_badges_is_folded(
    descriptions: Descriptions, content_type: str, text: str, count: int
) -> None:
    """A row of badges at the beginning is one line, which shows them if somebody opens it."""
    html = shown(descriptions, text, content_type)
    summary, _, rest = html.partition(f'<summary dir="ltr">{count} badges</summary>')
    badges = rest.partition("</details>")[0]

    assert summary.endswith('<details class="badges">')
    assert badges.count('<a href="https://') == count
    assert "Text" not in badges


@pytest.mark.parametrize(
    "text",
    [
        BADGE * 3,
        "Text and " + BADGE * 5,
        "![a](a.png) " * 5,
        "|a|\n|-|\n|" + BADGE.strip() * 5 + "|\n",
        "# Acme\n\n## Sponsors\n\n" + BADGE * 5,
    ],
)
def test_other_pictures_are_not_folded(descriptions: Descriptions, text: str) -> None:
    """Few badges, those within a text, and pictures below the second heading stay as they are."""
    assert "<details" not in shown(descriptions, text)


def test_a_picture_without_a_text_is_no_heading(descriptions: Descriptions) -> None:
    """A logo without a text that is written as a heading is a picture, not a heading `image`."""
    html = shown(
        descriptions,
        '<h1 align="center"><a href="https://a.example/"><img src="logo"></a></h1>\n\n# Acme',
    )
    assert text_of(html.partition("<h3")[0]) == "a.example"
    assert re.findall(r"<h\d", html) == ["<h3"]


@pytest.mark.parametrize(
    ("content", "content_type", "target"),
    [
        (".. contents:: Parts\n\nA\n=\n\nB\n=\n", "text/x-rst", "#top"),
        ("[Parts](#top)", "text/markdown", "#top"),
        ('<p id="top">Demo</p>\n\n[Parts](#top)', "text/markdown", "#user-content-top"),
    ],
)
def test_links_to_the_top_lead_there(
    descriptions: Descriptions, content: str, content_type: str, target: str
) -> None:
    """A link to the top leads to the description's own one, else to that of the page."""
    html = shown(descriptions, content, content_type)
    assert f'<a href="{target}">Parts</a>' in html


def test_a_relative_link_is_only_text(descriptions: Descriptions) -> None:
    """A relative link of a description, which would lead to a page of the index, is only text."""
    html = shown(descriptions, "[a](docs/x.md) [b](/-/account/) [c](//evil.example) [d](?q=1)")
    assert "href" not in html


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("".join(" " * level + "a\n\n" for level in range(300)), RST),
        ('<pre lang="x"><code>\n' * 5_000, MARKDOWN),
        (">" * 1000, MARKDOWN),
        ("|a" * 3000 + "|\n" + "|-" * 3000 + "|\n" + "a\n" * 3000, MARKDOWN),
    ],
)
def test_slow_ones_are_text(descriptions: Descriptions, content: str, content_type: str) -> None:
    """A description that takes long to render is shown as text, and the next one is rendered."""
    assert "shown as plain text" in shown(descriptions, content, content_type)
    assert "<em>b</em>" in shown(descriptions, f"a *b* {len(content)}")


def test_a_long_description_is_not_rendered(descriptions: Descriptions) -> None:
    """A description of 10 MB is not rendered; its beginning is shown as text."""
    html = shown(descriptions, "*a* " * 2_500_000)
    assert "longer than 512 KiB" in html
    assert MAX_LENGTH < len(html) < 2 * MAX_LENGTH


def test_control_characters_never_reach_a_page(descriptions: Descriptions) -> None:
    """Control characters and halves of characters neither fail nor get to the page as they are."""
    html = shown(descriptions, "a\x00b\x07 \ud800 \u202e *c*")
    assert "<em>c</em>" in html
    assert not re.search("[\x00\x07\ud800\u202e]", html)


def test_without_a_process_a_description_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no process can be started, a description is text for now."""
    made = Descriptions(new_store(), monotonic, waits=True)
    with monkeypatch.context() as context:
        for program in ("/nonexistent/python", "/bin/false"):
            context.setattr("sys.executable", program)
            rendered = made.render(core(f"*{program}*"))
            assert not rendered.is_final
            assert f"*{program}*" in rendered.html
    assert "<em>a</em>" in shown(made, "*a*")
    made.close()


def test_without_a_thread_a_text_is_not_rendered_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the machine has no thread left, a text is not rendered, and the next attempt may be."""

    def refuse(_: Timer) -> None:
        raise RuntimeError("can't start new thread")

    process = RenderProcess()
    with monkeypatch.context() as context:
        context.setattr(Timer, "start", refuse)
        assert process.render("*a*", "GFM") == {"problem": "unavailable"}
    assert "<em>a</em>" in process.render("*a*", "GFM")["html"]
    process.close()


def test_a_page_does_not_wait_for_its_description() -> None:
    """A page has the text until its description is rendered; neither page nor upload waits."""
    store, uploaded, asked = new_store(), core("a *b*"), core("c *d*")
    made = Descriptions(store, monotonic)
    made.begin(uploaded)
    first = made.render(asked)
    assert not first.is_final
    assert "not rendered yet" in first.html
    assert "c *d*" in first.html

    waiting.until(lambda: len([*store.list(keys.DESCRIPTIONS)]) == 2)
    for each in (uploaded, asked):
        assert made.render(each).is_final
    made.close()


def test_a_description_is_rendered_once_for_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process has rendered no other one renders, until it is deleted or damaged."""
    store = new_store()
    made = Descriptions(store, monotonic, waits=True)
    html = shown(made, "a *b*")
    made.close()
    (entry,) = store.list(keys.DESCRIPTIONS)
    with monkeypatch.context() as context:
        context.setattr("sys.executable", "/nonexistent/python")
        assert shown(Descriptions(store, monotonic), "a *b*") == html

    for damaged in (None, b"?"):
        store.delete(entry.key)
        if damaged is not None:
            store.put(entry.key, damaged, None)
        made = Descriptions(store, monotonic, waits=True)
        assert shown(made, "a *b*") == html
        made.close()
        stored_object = store.get(entry.key)
        assert isinstance(stored_object, Stored)
        assert decode(stored_object.body)["html"] == html


def test_where_nothing_can_be_stored_memory_keeps_the_result() -> None:
    """Where nothing can be stored, a process renders a description once, and keeps it in memory."""
    made = Descriptions(ReadOnlyStore(new_store()), monotonic, waits=True)
    html = shown(made, "a *b*")
    made.close()
    assert shown(made, "a *b*") == html


def test_too_many_descriptions_wait_for_their_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many that arrive at once some are left to their readers, who get text until then."""
    monkeypatch.setattr("wheelyard.operations.descriptions.descriptions.MAX_WAITING", 1)
    store = new_store()
    made = Descriptions(store, monotonic)
    made.begin(core(">" * 1000))
    made.begin(core("a *b*"))
    waiting.until(lambda: len([*store.list(keys.DESCRIPTIONS)]) == 1)
    waiting.until(lambda: made.render(core("a *b*")).is_final)
    made.close()


def test_the_shortest_description_is_rendered_first() -> None:
    """A long description that waits holds up none of the shorter ones, which come after it."""
    pause = Pause()
    made = Descriptions(FakeStore(new_store(), Before(pause, "get")), monotonic)
    made.begin(core("*first*"))
    pause.wait_for_call()
    rendered = list[str]()
    for text in ("*long* " * 1000, "*short*"):
        job = made.render(core(text)).job
        assert job is not None
        job.add_done_callback(lambda job: rendered.append(job.result().html))

    pause.go_on.set()

    waiting.until(lambda: len(rendered) == 2)
    made.close()
    assert "short" in rendered[0]


def test_no_description_waits_for_the_store() -> None:
    """Readers see descriptions while the store still writes the first of them."""
    pause, store = Pause(), new_store()
    made = Descriptions(FakeStore(store, Before(pause, "put")), monotonic)
    for text in ("*one*", "*two*"):
        job = made.render(core(text)).job
        assert job is not None
        assert job.result(waiting.TIMEOUT_SECONDS) is not None
    assert "<em>two</em>" in shown(made, "*two*")

    pause.go_on.set()
    waiting.until(lambda: len([*store.list(keys.DESCRIPTIONS)]) == 2)
    made.close()


def test_old_results_are_removed() -> None:
    """Results that were made long ago are removed, and nothing else."""
    clock = Clock()
    store = MemoryStore(clock.seconds)
    old, new = (keys.description(renderer(), digest) for digest in ("0", "1"))
    for key in (old, keys.SEARCH):
        store.put(key, b"", None)
    clock.advance(seconds=KEPT_SECONDS + 1)
    store.put(new, b"", None)

    remove_old(store, clock.seconds())

    assert [entry.key for entry in store.list(keys.DERIVED)] == [new, keys.SEARCH]


def test_a_killed_process_is_replaced(descriptions: Descriptions) -> None:
    """If the process that renders is killed, another one renders the next description."""
    shown(descriptions, "first")
    for process in processes():
        os.kill(process, signal.SIGKILL)
    assert "<em>second</em>" in shown(descriptions, "*second*")


def test_the_process_has_no_secret(descriptions: Descriptions) -> None:
    """The process that renders has no environment of the server, and none of its open files."""
    shown(descriptions, "a *b* c")
    for process in processes():
        environment = Path(f"/proc/{process}/environ").read_bytes()
        assert b"HOME=" not in environment
        opened = {str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()}
        assert not [file for file in opened if not re.match(r"pipe:|/dev/null", file)]


def test_the_process_is_the_first_to_end_without_memory(descriptions: Descriptions) -> None:
    """A machine without memory ends the process that renders, and not the server."""
    shown(descriptions, "a *b* m")
    for process in processes():
        assert Path(f"/proc/{process}/oom_score_adj").read_text() == "1000\n"


def test_the_process_waits_for_another_description() -> None:
    """Descriptions that come one after the other are rendered by one process."""
    before = processes()
    made = Descriptions(new_store(), monotonic)
    waiting.until(lambda: made.render(core("a *b* first")).is_final)
    (process,) = processes() - before
    for number in range(3):
        job = made.render(core(f"a *b* {number}")).job
        assert job is not None
        assert job.result(waiting.TIMEOUT_SECONDS) is not None
    assert processes() - before == {process}
    made.close()
    assert processes() <= before


def test_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left some time after the last description, or when the server ends."""
    monkeypatch.setattr("wheelyard.operations.descriptions.descriptions.PROCESS_SECONDS", 0.01)
    before = processes()
    made = Descriptions(new_store(), monotonic)
    waiting.until(lambda: made.render(core("a *b* d")).is_final)
    waiting.until(lambda: processes() <= before)
    made.begin(core("a *b* e"))
    made.close()
    assert processes() <= before
    assert made.render(core("a *b* f")).html


@pytest.mark.parametrize(("opened", "status"), [("os.__file__", 0), ("'/etc/passwd'", 1)])
def test_the_child_opens_code_alone(opened: str, status: int) -> None:
    """The process that renders opens the files of packages, and no other file."""
    limited = "import os\nfrom wheelyard.operations.descriptions import child\n"
    code = f"{limited}child._limit_resources()\nopen({opened}).close()"

    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)

    assert ended.returncode == status
    assert (b"PermissionError" in ended.stderr) == bool(status)
