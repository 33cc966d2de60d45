"""deploy/render.py, which fills in what everybody deploys."""

import sys

from tests.clients.conftest import desk as _desk
from tests.clients.harness import REPOSITORY, Desk

desk = _desk
RENDER = (sys.executable, REPOSITORY / "deploy" / "render.py")


def test_any_terminal(desk: Desk) -> None:
    """What is printed is UTF-8, as the file is, whatever the terminal speaks."""
    (desk.folder / "note.toml").write_text('note = "Jürgen, Łódź, ${BUCKET}"\n', encoding="utf-8")

    said = desk.run(*RENDER, "note.toml", BUCKET="wheels", PYTHONIOENCODING="latin-1")

    assert said == 'note = "Jürgen, Łódź, wheels"\n'
