"""One browser for each worker, and one server for each module."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from tests.browser.chromium import Browser, Person, running_browser
from tests.browser.site import (
    PASSWORD,
    USER,
    add_downloads,
    await_descriptions,
    is_signed_in,
    running_site,
    sign_in,
)
from tests.distributions import make_sdist, make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_settings
from wheelyard.model.person import Person as Record

HOSTILE = """
# Hello <script>document.title = "changed"</script>

<img src="https://tracker.example.com/x.png" onerror="document.title = 'changed'" alt="a picture">
<a href="javascript:document.title = 'changed'">press me</a>
<svg onload="document.title = 'changed'"><script>document.title = "changed"</script></svg>
<iframe src="https://frame.example.com/"></iframe>
<style>body { display: none }</style>
<p style="position: fixed; inset: 0; background: url(https://style.example.com/)">over it all</p>
<form action="https://form.example.com/"><input name="password"><button>Sign in</button></form>
<meta http-equiv="refresh" content="0; url=https://away.example.com/">
<base href="https://base.example.com/">

```python
print("code")
```

| a | b |
|---|---|
| 1 | 2 |
| `acme_core.settings` | What every service of ours reads from its environment when it starts |

""" + "\n".join(f"{'  ' * level}- deeper" for level in range(25))
FIELDS = (
    "Summary: What every service of ours needs",
    "Keywords: bus,settings",
    "License-Expression: MIT",
    "Author-email: Ana <ana@acme.example>",
    "Requires-Python: >=3.9",
    "Requires-Dist: zebra>=1",
    "Requires-Dist: rich ; extra == 'cli'",
    "Provides-Extra: cli",
    "Project-URL: Source, https://git.example.com/core",
    "Classifier: Framework :: AsyncIO",
)
MARKDOWN = "Description-Content-Type: text/markdown"
TAGS = tuple(
    f"cp3{minor}-cp3{minor}-{platform}"
    for minor in (11, 12, 13)
    for platform in (
        "manylinux_2_28_x86_64",
        "macosx_14_0_arm64",
        "win_amd64",
        "musllinux_1_2_x86_64",
    )
)


INDEXES = '[main]\npromote_only = false\n[[index]]\nname = "prod"\n'


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser without a window, which is in the way of other event loops of this thread."""
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def public() -> Iterator[FakeUpstream]:
    """An upstream index with a project, and a release of it that the site does not show."""
    with running_fake_upstream() as upstream:
        young = FakeFile.of(public_wheel("public-lib", "3.0"), datetime(2999, 1, 1, tzinfo=UTC))
        upstream.publish(
            public_wheel("public-lib", "1.0"),
            public_wheel("unused-lib", "1.0"),
            public_wheel("public-lib", "2.0", *FIELDS, MARKDOWN, HOSTILE),
            young,
        )
        yield upstream


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, public: FakeUpstream) -> Iterator[RunningServer]:
    """A server with a project of every kind."""
    config = upstream_settings(public, "cooldown_days = 7")
    with running_site(tmp_path_factory.mktemp("site"), config, INDEXES) as server:
        publish(
            server,
            make_wheel("acme-core", "1.0", *FIELDS, MARKDOWN, "\n# Acme\n\nFine *text*.\n"),
            make_wheel("acme-core", "1.1", *FIELDS, MARKDOWN, "\n# Acme\n\nFine *text*.\n"),
            make_sdist("acme-core", "1.1", *FIELDS),
            make_wheel("acme-core", "2.0rc1", *FIELDS),
            make_wheel("hostile", "1.0", "Summary: <b onclick=x>bold</b>", MARKDOWN, HOSTILE),
            *(make_wheel("many-wheels", "1.0", tag=tag) for tag in TAGS),
            make_wheel("plain", "1.0"),
            make_wheel("plain", "1.1"),
            make_wheel(
                "zebra", "0.1", "Summary: Stripes, for Acme_Core", "Requires-Dist: acme-core"
            ),
        )
        add_downloads(server, "acme-core", "1.1", "1.0", "0.9")
        server.change("acme-core", "yank", version="1.0", reason="Loses messages")
        server.change("plain", "delete", version="1.1", reason="Not meant for here")
        server.change("zebra", "status", status="deprecated", reason="Use acme-core")
        assert server.get("/simple/public-lib/").status_code == 200  # now it is in lists
        cleo = Record(
            provider="acme",
            subject="1",
            name="cleo@acme.example",
            groups=("data-science", "platform"),
            confirmed_at=server.index.server.runtime.now(),
        )
        people = server.index.server.people
        people.save(cleo, people.get_current("acme", cleo.id))
        wanted = {"project": "public-lib", "version": "3.0", "reason": "TICKET-1"}
        server.client.post("/api/v1/upstream/request", json=wanted, auth=(USER, PASSWORD))
        await_descriptions(server, "acme-core", "hostile", "public-lib")
        yield server


@pytest.fixture(scope="module")
def windows(browser: Browser, site: RunningServer) -> Iterator[Callable[[str], Person]]:
    """Opens windows of people by their names: one for all tests of a module, as it was left."""
    with ExitStack() as stack:

        @functools.cache
        def window(name: str) -> Person:
            has_scripts = name != "scriptless"
            return stack.enter_context(browser.person(site.url, java_script_enabled=has_scripts))

        yield window


@pytest.fixture
def person(windows: Callable[[str], Person]) -> Iterator[Person]:
    """Somebody who has not signed in."""
    with windows("person").anew() as person:
        yield person


@pytest.fixture
def scriptless(windows: Callable[[str], Person]) -> Iterator[Person]:
    """Somebody who has not signed in, in a browser without scripts."""
    with windows("scriptless").anew() as person:
        yield person


@pytest.fixture(params=["person", "scriptless"], ids=["scripts", "no-scripts"])
def visitor(request: pytest.FixtureRequest, windows: Callable[[str], Person]) -> Iterator[Person]:
    """Somebody who has not signed in, in a browser with scripts and in one without."""
    with windows(request.param).anew() as person:
        yield person


@pytest.fixture
def ana(windows: Callable[[str], Person]) -> Iterator[Person]:
    """Somebody who has signed in, and administers the site."""
    with windows("ana").anew(keeps_cookies=True) as person:
        if not is_signed_in(person):
            sign_in(person)
        yield person
