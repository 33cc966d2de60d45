"""
Takes pictures of the pages of an index with real packages: `python -m tools.screenshots`.

The pictures go to docs/images/web: the pages that the documentation shows at two widths, that of a
project also at a third one and in the dark scheme, and its top for the README. They are WebP, made
by the browser; the wide ones are made smaller.
"""

from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.browser.chromium import Person, running_browser
from tests.browser.site import viewers
from tools.showcase import PAGES, running_showcase

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "images" / "web"
TABLET: Final = 768
"""The width at which only the page of a project is shown."""
WIDTHS: Final = {360: 1.0, TABLET: 0.75, 1440: 0.7}
"""The widths of the window, and how much of it the width of a picture is."""
MAX_HEIGHT: Final = 1200
"""The height of the part of a page that is shown."""
PROJECT: Final = "project"
"""The page of which there are more pictures."""
README_HEIGHT: Final = 860
"""The height of the picture of the README."""
QUALITY: Final = 45


def main() -> None:
    """Take all pictures, and print how large they are together."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.webp"):
        old.unlink()
    with (
        TemporaryDirectory() as folder,
        running_showcase(Path(folder)) as server,
        running_browser() as browser,
        viewers(browser, server.url) as people,
    ):
        for page in filter(lambda each: each.is_pictured, PAGES):
            person = people[page.is_signed_in]
            person.open(page.path)
            for width in WIDTHS:
                if width != TABLET or page.name == PROJECT:
                    person.look("light", width)
                    (FOLDER / f"{page.name}-{width}.webp").write_bytes(picture(person, width))
            if page.name == PROJECT:
                (FOLDER / "readme.webp").write_bytes(picture(person, width, README_HEIGHT))
                person.look("dark", width)
                (FOLDER / f"{page.name}-dark.webp").write_bytes(picture(person, width))
        for person in people.values():
            person.complaints.clear()
    files = list(FOLDER.glob("*.webp"))
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} pictures, {size / 1000:,.0f} kB, in {FOLDER}")


def picture(person: Person, width: int, max_height: int = MAX_HEIGHT) -> bytes:
    """Return the page that is open as WebP, from its top."""
    height = min(person.page.evaluate("document.documentElement.scrollHeight"), max_height)
    session = person.page.context.new_cdp_session(person.page)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": WIDTHS[width]}
    wanted = {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
    taken = session.send("Page.captureScreenshot", wanted)
    session.detach()
    return b64decode(taken["data"])


if __name__ == "__main__":
    main()
