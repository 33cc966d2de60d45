"""A small runner of GitHub's jobs: what a step runs, and what our action runs in a step's place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.clients.harness import REPOSITORY

ACTION: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text())
SHELL = ("--noprofile", "--norc", "-eo", "pipefail", "-c")
"""How GitHub starts bash; it hands a script over as a file."""


def scripts(step: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each script of a step, with its own variables; other actions run nothing here."""
    if "run" in step:
        yield step["run"], {}
    elif str(step.get("uses")).startswith("wheelyard/wheelyard@"):
        yield from action(**step["with"])


def action(**step_inputs: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each script of our action, with the variables that its inputs make."""
    inputs = ACTION["inputs"]
    assert step_inputs.keys() <= inputs.keys()
    assert {name for name, about in inputs.items() if about.get("required")} <= step_inputs.keys()
    values = {name: step_inputs.get(name, about.get("default")) for name, about in inputs.items()}
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
        yield (
            step["run"],
            {
                name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: values[m[1]], text)
                for name, text in step["env"].items()
            },
        )
