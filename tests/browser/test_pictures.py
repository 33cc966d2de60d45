"""Pictures of other servers, as a browser shows them."""

import ssl
from base64 import b64decode
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Person
from tests.browser.site import await_descriptions
from tests.clients.tls import running_proxy
from tests.http.packages import publish, wheel
from tests.http.servers import close_app, memory_index, running_app
from tests.sources.web.fake_server import running_fake_server
from wheelyard.http.app import App
from wheelyard.http_client.client import Network
from wheelyard.http_client.hosts import AddressPolicy
from wheelyard.pictures import proxy
from wheelyard.settings.sections import Settings, WebSettings

pytestmark = pytest.mark.integration

PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BADGE = b"""<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20">
<style>rect { fill: rgb(0, 128, 0) }</style>
<script>parent.document.title = "changed"; fetch("https://evil.example/")</script>
<rect width="90" height="20"/><text x="5" y="14" style="fill: white">passing</text>
<image href="data:image/png;base64,%s" width="5" height="5"/>
<image href="https://evil.example/x.png" width="5" height="5"/></svg>"""
TEXT = """
![badge]({0}/badge.svg) ![photo]({0}/a.png) ![page]({0}/page.html) ![gone]({0}/gone.png)

<img src="{0}/badge.svg" width="450" height="100" alt="wide">
<img src="{0}/a.png" height="40" alt="high">
"""
SHOWN = """
() => Array.from(document.querySelectorAll(".description img")).map((image) =>
  [image.alt, image.complete && image.naturalWidth, image.clientWidth, image.clientHeight])
"""


@pytest.fixture
def person(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Somebody who looks at an index that fetches pictures from a server here."""
    with running_fake_server() as server:
        server.file("/badge.svg", BADGE % b"AA", Content_Type="text/plain")
        server.file("/a.png", PNG)
        server.page("/page.html", "<script>document.title = 'changed'</script>")
        with running_proxy(tmp_path, server.url.removeprefix("http://")) as tls:
            trusted = ssl.create_default_context(cafile=tls.authority)
            here = AddressPolicy(is_allowed=lambda address: address == ip_address("127.0.0.1"))
            network = Network(policies={"https": here}, tls=lambda: trusted)
            monkeypatch.setattr(proxy, "public_network", lambda: network)
            index = memory_index(tmp_path, Settings(web=WebSettings(pictures="proxied")))
            app = App(index)
            with running_app(index, tmp_path, app) as running:
                lines = ("Description-Content-Type: text/markdown", "", TEXT.format(tls.url))
                publish(running, wheel("demo", "1.0", *lines))
                await_descriptions(running, "demo")
                with browser.person(running.url) as made:
                    made.open("/project/demo/")
                    made.page.wait_for_load_state("networkidle")
                    yield made
            close_app(app)


def test_pictures_are_shown_by_the_index(person: Person) -> None:
    """A browser shows badges and photos, asks no other server, and runs nothing of an SVG."""
    images = {alt: rest for alt, *rest in person.page.evaluate(SHOWN)}
    assert images["badge"] == [90, 90, 20]
    assert images["photo"] == [1, 1, 1]
    for alt in ("page", "gone"):  # their text is shown, and leads to the original
        assert images[alt][0] == 0
        assert images[alt][1] > 20
        assert person.page.get_by_role("link", name=alt, exact=True).is_visible()
    assert images["wide"][1:] == [450, 100]
    assert images["high"][2] == 40
    assert "demo" in person.page.title()
    gone = [complaint for complaint in person.complaints if "status of 404" in complaint]
    assert len(gone) == 2
    for complaint in gone:  # that these two are missing is what is meant
        person.complaints.remove(complaint)

    person.look("light", 320)
    narrow = {alt: rest for alt, *rest in person.page.evaluate(SHOWN)}
    assert narrow["wide"][1] < 320
    assert abs(narrow["wide"][1] / narrow["wide"][2] - 4.5) < 0.1
