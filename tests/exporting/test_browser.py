"""The web UI of a static site in a real browser: search without a server."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.exporting.export_fixture import ExportHarness
from tests.exporting.serving import python_web
from tests.http.packages import wheel
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.operations.exporting.manifest import RequestedOptions

PACKAGES = (
    wheel("acme-core", "1.4", "Summary: What every service of ours needs"),
    wheel("acme-web", "2.0", "Summary: Größere Seiten <b>für</b> alle"),
    wheel("zebra", "0.1rc1", "Summary: Stripes, by the CORE team"),
    wheel("plain", "1.0"),
)
FOUND = {
    "acme": ["acme-core", "acme-web"],
    "core": ["acme-core", "zebra"],
    "Acme_Core": ["acme-core"],
    "größere": ["acme-web"],
    "team zeb": ["zebra"],
    "<b>": ["acme-web"],
    "nothing like it": [],
    "aCme.": ["acme-core", "acme-web"],
}
"""The expected results, by search text."""
PROBE = """
<script>
addEventListener("load", async () => {
  const told = {text: document.body.innerText, found: {}, said: []};
  addEventListener("error", (event) => told.said.push(event.message));
  const box = document.querySelector("form.search input");
  const status = document.querySelector("[role=status]");
  for (const text of TYPED) {
    status.textContent = "";
    box.value = text;
    box.dispatchEvent(new Event("input"));
    while (!status.textContent) await new Promise((go) => setTimeout(go, 10));
    const names = [...document.querySelectorAll(".results li a")].map((each) => each.textContent);
    told.found[text] = [names, status.textContent];
    if (text === "acme") told.about = document.querySelectorAll(".results .soft")[1].textContent;
  }
  box.value = "";
  box.dispatchEvent(new Event("input"));
  while (status.textContent) await new Promise((go) => setTimeout(go, 10));
  told.closed = document.querySelector(".results").hidden;
  document.title = JSON.stringify(told);
});
</script>
"""
"""Types into the page that it is put into, and leaves what it has seen in the title."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a site that was exported without a base URL."""
    harness = ExportHarness(tmp_path_factory.mktemp("index"))
    harness.publish(*PACKAGES)
    harness.export(harness.folder / "www/deep/down", RequestedOptions())
    return harness.folder / "www"


@pytest.mark.slow
@pytest.mark.clients
def test_a_site(exported: Path, tmp_path: Path) -> None:
    """On a plain web server typing filters by name and summary, and the URL is the site's own."""
    site = exported / "deep/down"
    page = re.sub("<meta http-equiv.*?>", "", (site / "index.html").read_text())  # bars the probe
    (site / "probe.html").write_text(page + PROBE.replace("TYPED", json.dumps([*FOUND])))
    with python_web(exported, tmp_path) as web:
        told = seen(f"http://{web.address}/deep/down/probe.html?x=1#y", tmp_path)

        line = f'url = "http://{web.address}/deep/down/simple/"'
    assert line in told["text"]
    numbers = {0: "0 projects", 1: "1 project", 2: "2 projects"}
    counts = {text: f"{numbers[len(names)]} found" for text, names in FOUND.items()}
    assert told["found"] == {text: [names, counts[text]] for text, names in FOUND.items()}
    assert told["about"] == "2.0 · Größere Seiten <b>für</b> alle"
    assert told["closed"] is True
    assert told["said"] == []


def seen(url: str, folder: Path) -> Any:  # noqa: ANN401 - what a script has left
    """Return what the script of a page has left in its title, in a browser without a window."""
    browser = shutil.which("chromium") or pytest.skip("no browser here")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    done = subprocess.run(
        [browser, *options, "--virtual-time-budget=20000", "--dump-dom", url],
        check=True,
        capture_output=True,
        env={"HOME": str(folder)},
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(title))


def test_without_scripts(exported: Path) -> None:
    """Where no script runs, every name is on the home page."""
    page = (exported / "deep/down/index.html").read_text()

    for name in ("acme-core", "acme-web", "plain", "zebra"):
        assert f'href="project/{name}/"' in page
