"""
Lines for `gcloud` in pages and scripts, held against a list of its commands and flags.

The list, `gcloud_commands.json`, has the commands that are used here, as the SDK brings them along
for completing commands in a shell. Where a new one is used, write it again with gcloud at hand:

    python -m tests.deploy.gcloud
"""

import json
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.clients.harness import REPOSITORY

FENCE = re.compile(r"^ *```(?:sh|console|bash|yaml)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`(gcloud [^`]+)`(?!`)")
BEGINNING = re.compile(r"""(?<![\w./~"'-])gcloud (?=[a-z-])""")
END = re.compile(r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\$\([^)]*\)|[^"'\n|;&)`>#])*""")
HIDDEN = (["meta", "list-files-for-upload"],)
"""Commands that gcloud has, and does not list."""
UNSAID = ("...", "--...")
"""The placeholder of a page for other arguments."""
LIST = Path(__file__).with_name("gcloud_commands.json")
KNOWN: dict[str, dict[str, Any]] = json.loads(LIST.read_text())
"""By command, its flags; those of every command are those of the empty one."""
FILES = [
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "maintaining").glob("*.md")),
    *sorted(
        path
        for path in (REPOSITORY / "deploy").rglob("*")
        if path.suffix in {".md", ".sh", ".yaml", ".yml"}
    ),
]
"""The files that may have such lines."""


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
    """Return what gcloud does not know of a line: command, flag, flag's value."""
    words = [word for word in shlex.split(line)[1:] if word not in UNSAID]
    if "--" in words:
        words = words[: words.index("--")]  # what follows is for another program
    if words in HIDDEN:
        return []
    plain = [word for word in words if not word.startswith("--")]
    names = [" ".join(plain[:length]) for length in range(len(plain), 0, -1)]
    command = next((name for name in names if name in KNOWN), None)
    if command is None:
        return [f"{words}: an unknown command, or {LIST.name} lacks it"]
    flags = KNOWN[""] | KNOWN[command]
    return [f"{words}: {wrong_flag}" for wrong_flag in _wrong_flags(words, flags)]


def _is_prose(text: str, place: int) -> bool:
    """Return whether gcloud is only spoken of there: in a comment or a message, and doing much."""
    before = text[text.rfind("\n", 0, place) + 1 : place]
    word = text[place:].split()[1]
    spoken = "#" in before or "echo" in before
    return spoken and not any(each.partition(" ")[0] == word for each in KNOWN)


def _until_end(text: str) -> str:
    match = END.match(text)
    assert match is not None
    return match[0].strip()


def _wrong_flags(words: Sequence[str], flags: dict[str, Any]) -> Iterator[str]:
    for word, following in pairwise((*words, "")):
        name, has_value, value = word.partition("=")
        if not name.startswith("--"):
            continue
        kind = flags.get(name)
        if kind is None and flags.get(f"--{name.removeprefix('--no-')}") != "bool":
            yield f"{name} is no flag of it"
        elif isinstance(kind, list):
            argument = value if has_value else following
            if "$" not in argument and argument.lower() not in {str(each).lower() for each in kind}:
                yield f"{name} is one of {kind}"


def write_list() -> None:
    """Write the list of what is used here, by the gcloud of this machine."""
    program = shutil.which("gcloud")
    assert program is not None
    file = Path(program).resolve().parents[1] / "data" / "cli" / "gcloud_completions.py"
    tree: dict[str, Any] = runpy.run_path(str(file))["STATIC_COMPLETION_CLI_TREE"]
    found = {"": tree["flags"]}
    for words in (shlex.split(line)[1:] for path in FILES for line in lines(path)):
        node, command, flags = tree, list[str](), dict[str, Any]()
        for word in words:
            if word in node.get("commands", {}):
                node = node["commands"][word]
                command.append(word)
                flags |= node.get("flags", {})
        if not node.get("commands"):
            found[" ".join(command)] = flags
    parts = (f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    LIST.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    write_list()
