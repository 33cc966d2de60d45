"""
Lines for `gcloud` in pages and scripts, held against gcloud's own list of commands and flags.

The SDK brings that list along for completing commands in a shell, so nothing is run and nobody is
asked. It knows what `gcloud ... --help` knows: commands, flags, and for some flags their values.
"""

import re
import runpy
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.clients.harness import system_program

FENCE = re.compile(r"^ *```(?:sh|console|bash|yaml)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`(gcloud [^`]+)`(?!`)")
BEGINNING = re.compile(r"""(?<![\w./~"'-])gcloud (?=[a-z-])""")
END = re.compile(r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\$\([^)]*\)|[^"'\n|;&)`>#])*""")
HIDDEN = (["meta", "list-files-for-upload"],)
"""Commands that gcloud has, and does not list."""
UNSAID = ("...", "--...")
"""What a page writes for whatever else a command takes."""


def lines(file: Path) -> list[str]:
    """Return every command line for gcloud in a page, a script or a YAML file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        spans = [span for span in SPAN.findall(FENCE.sub("", text)) if " " in span]
        text = "\n".join([*FENCE.findall(text), *spans])
    text = re.sub(r"\\\n\s*(?:# +)?", " ", text)
    # a command within a command is one of its own
    places = [found.start() for found in BEGINNING.finditer(text)]
    return [_until_end(text[place:]) for place in places if not _is_prose(text, place)]


def wrong(line: str) -> list[str]:
    """Return what gcloud does not know of a line: a command, a flag, a flag's value."""
    words = [word for word in shlex.split(line)[1:] if word not in UNSAID]
    if "--" in words:
        words = words[: words.index("--")]  # what follows is for another program
    if words in HIDDEN:
        return []
    node, flags, rest = _command(words)
    if node.get("commands"):
        return [f"`{line}`: not a whole command, or an unknown one: {rest[:1]}"]
    return [f"`{line}`: {each}" for each in _wrong_flags(rest, flags)]


@cache
def tree() -> dict[str, Any]:
    """Return gcloud's list of commands, or skip the test."""
    root = Path(system_program("gcloud")).resolve().parents[1]
    file = root / "data" / "cli" / "gcloud_completions.py"
    if not file.exists():
        pytest.skip("this gcloud came without its list of commands")
    found: dict[str, Any] = runpy.run_path(str(file))["STATIC_COMPLETION_CLI_TREE"]
    return found


def _is_prose(text: str, place: int) -> bool:
    """Return whether gcloud is only spoken of there: in a comment or a message, and doing much."""
    before = text[text.rfind("\n", 0, place) + 1 : place]
    spoken = "#" in before or "echo" in before
    return spoken and text[place:].split()[1] not in tree()["commands"]


def _until_end(text: str) -> str:
    found = END.match(text)
    assert found is not None
    return found[0].strip()


def _command(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Follow the words to a command; return it, all flags on the way, and the words after it."""
    node, flags = tree(), dict(tree()["flags"])
    rest = list(words)
    while rest and (rest[0] in node.get("commands", {}) or rest[0].startswith("--")):
        if rest[0].startswith("--"):
            rest.append(rest.pop(0))  # a flag before the command holds for it, too
            if all(word.startswith("--") for word in rest):
                break
        else:
            node = node["commands"][rest.pop(0)]
            flags |= node.get("flags", {})
    return node, flags, rest


def _wrong_flags(rest: Sequence[str], flags: dict[str, Any]) -> Iterator[str]:
    for word, following in pairwise((*rest, "")):
        name, has_value, value = word.partition("=")
        if not name.startswith("--"):
            continue
        kind = flags.get(name)
        if kind is None and flags.get(f"--{name.removeprefix('--no-')}") != "bool":
            yield f"{name} is no flag of it"
        elif isinstance(kind, list):
            given = value if has_value else following
            if "$" not in given and given.lower() not in {str(each).lower() for each in kind}:
                yield f"{name} is one of {kind}"
