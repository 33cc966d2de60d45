"""Reads a Dockerfile and its .dockerignore, as far as ours go."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
COMMENT = re.compile(r"^\s*#.*\n?", re.MULTILINE)
OPTION = re.compile(r"--(\w[\w-]*)(?:=(\S+))?\s+")


@dataclass(frozen=True)
class Step:
    """
    One instruction.

    Args:
        word: Its name, such as `RUN`.
        options: What stood before the rest as `--name=value`.
        text: The rest.
    """

    word: str
    options: Mapping[str, str]
    text: str

    def words(self) -> list[str]:
        """Return the rest as a list: of JSON, or as a shell would split it."""
        if self.text.startswith("["):
            words: list[str] = json.loads(self.text)
            return words
        return shlex.split(self.text)

    def pairs(self) -> dict[str, str]:
        """Return the rest as `name=value`s; an ARG may have no value."""
        return {name: value for name, _, value in (word.partition("=") for word in self.words())}


@dataclass(frozen=True)
class Stage:
    """What follows a FROM, up to the next."""

    base: str
    name: str
    steps: tuple[Step, ...]

    def last(self, word: str) -> Step:
        """Return the last instruction of that name, which is the one that counts."""
        return [step for step in self.steps if step.word == word][-1]


def read_recipe(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    joined = COMMENT.sub("", text).replace("\\\n", " ")
    steps = [_step(line) for line in joined.splitlines() if line.strip()]
    first = next(place for place, step in enumerate(steps) if step.word == "FROM")
    arguments = {name: value for step in steps[:first] for name, value in step.pairs().items()}
    stages: list[Stage] = []
    for step in steps[first:]:
        if step.word == "FROM":
            base, _, name = step.text.partition(" AS ")
            stages.append(Stage(filled_in(base, arguments).strip(), name.strip(), ()))
        else:
            last = stages.pop()
            stages.append(Stage(last.base, last.name, (*last.steps, step)))
    return stages


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of `$NAME` and `${NAME}`."""
    return VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


class Ignored:
    """What a .dockerignore keeps out of the context."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in COMMENT.sub("", text).splitlines() if line.strip()]
        self._rules = [(line.startswith("!"), _pattern(line.lstrip("!"))) for line in lines]

    def __contains__(self, path: str) -> bool:
        """Whether a path, relative to the context, is kept out: the last rule that fits decides."""
        fitting = [not comes_back for comes_back, rule in self._rules if rule.fullmatch(path)]
        return bool(fitting) and fitting[-1]


def _step(line: str) -> Step:
    word, _, rest = line.strip().partition(" ")
    options: dict[str, str] = {}
    rest = rest.strip()
    while found := OPTION.match(rest):
        options[found[1]] = found[2] or ""
        rest = rest[found.end() :]
    return Step(word, options, " ".join(rest.split("  ")).strip())


def _pattern(glob: str) -> re.Pattern[str]:
    """Translate a rule; one that fits a folder fits all that is in it."""
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", glob)
    text = "".join(
        pieces.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts
    )
    return re.compile(f"{text}(?:/.*)?")
