"""What Cloud Build makes of a file before it begins: substitutions, secrets, refusals."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

BY_HAND: Final = frozenset(
    {"BRANCH_NAME", "COMMIT_SHA", "REPO_NAME", "REVISION_ID", "SHORT_SHA", "TAG_NAME"},
)
"""Built-in substitutions that a command line may give."""
BUILT_IN: Final = BY_HAND | {
    *("BUILD_ID", "LOCATION", "PROJECT_ID", "PROJECT_NUMBER", "REF_NAME", "REPO_FULL_NAME"),
    *("SERVICE_ACCOUNT", "SERVICE_ACCOUNT_EMAIL", "TRIGGER_BUILD_CONFIG_PATH", "TRIGGER_NAME"),
}
_USER: Final = re.compile(r"_[A-Z0-9_]+")
_PLACE: Final = re.compile(r"\$(?:\$|([A-Z_][A-Z0-9_]*)|\{([A-Z_][A-Z0-9_]*)\}|(\{[^}]*\}?))")
_LITERAL: Final = frozenset({"script", "id"})
"""Fields of a step in which nothing is replaced."""


class BuildRefusedError(Exception):
    """The service does not begin such a build."""


@dataclass(frozen=True)
class Filled:
    """
    A build as it is begun.

    Args:
        document: What it says, with every substitution made.
        substitutions: What stood for what.
    """

    document: Mapping[str, Any]
    substitutions: Mapping[str, str]

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The steps, each after those that it waits for."""
        return list(self.document["steps"])

    @property
    def is_automapped(self) -> bool:
        """Whether steps find the substitutions in their environment."""
        return bool(self.document.get("options", {}).get("automapSubstitutions"))

    @property
    def environment(self) -> list[str]:
        """What every step finds in its environment."""
        return list(self.document.get("options", {}).get("env", ()))


def filled(document: Mapping[str, Any], given: Mapping[str, str], project: str) -> Filled:
    """
    Make the substitutions that a command line and the file itself give.

    Raises:
        BuildRefusedError: A name is none, has no value or no use, or the build is not whole.
    """
    wrong = [name for name in given if not (_USER.fullmatch(name) or name in BY_HAND)]
    if wrong:
        raise BuildRefusedError(f"{wrong} cannot be given")
    options = document.get("options", {})
    of_project = {"PROJECT_ID": project, "PROJECT_NUMBER": "123456789012", "BUILD_ID": "b-1"}
    values = {**of_project, **document.get("substitutions", {}), **given}
    if options.get("dynamicSubstitutions"):
        values = {name: _replaced(text, values, is_loose=True) for name, text in values.items()}
    is_loose = options.get("substitutionOption") == "ALLOW_LOOSE"
    body = {name: each for name, each in document.items() if name != "substitutions"}
    if not is_loose and (unused := _unused(body, values)):
        raise BuildRefusedError(f"{unused} is not matched in the template")
    made = _mapped(body, values, is_loose=is_loose)
    _require_whole(made)
    return Filled(made, values)


def secrets_of(build: Filled, known: Mapping[str, str]) -> dict[str, str]:
    """
    Return the secrets that a build may ask for, by the name of the variable.

    Raises:
        BuildRefusedError: There is no such secret, or a step asks for another one.
    """
    found: dict[str, str] = {}
    available = build.document.get("availableSecrets", {})
    for each in available.get("secretManager", ()):
        found[each["env"]] = _known(each["versionName"], known)
    for each in available.get("inline", ()):
        for name, ciphertext in each["envMap"].items():
            base64.b64decode(ciphertext, validate=True)
            found[name] = _known(ciphertext, known)
    asked = {name for step in build.steps for name in step.get("secretEnv", ())}
    if asked != set(found):
        raise BuildRefusedError(f"secrets {asked} are asked for, and {set(found)} available")
    return found


def _known(name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise BuildRefusedError(f"there is no secret {name}")
    return known[name]


def _require_whole(document: Mapping[str, Any]) -> None:
    """Return if the service would begin this."""
    kinds = {"CLOUD_LOGGING_ONLY", "GCS_ONLY", "NONE"}
    if "serviceAccount" in document and document.get("options", {}).get("logging") not in kinds:
        raise BuildRefusedError("a build with an account of its own has to say where it logs")
    seen: set[str] = set()
    for step in document["steps"]:
        if "script" in step and step.keys() & {"args", "entrypoint"}:
            raise BuildRefusedError("a step is a script, or has arguments")
        if unknown := set(step.get("waitFor", ())) - seen - {"-"}:
            raise BuildRefusedError(f"a step waits for {unknown}, which are not before it")
        seen.add(step.get("id", ""))


def _unused(body: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    texts = [text for text, is_literal in _texts(body, is_literal=False) if not is_literal]
    named = {found[1] or found[2] for text in texts for found in _PLACE.finditer(text)}
    return sorted(name for name in values if name.startswith("_") and name not in named)


def _texts(value: object, *, is_literal: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(value, str):
        yield value, is_literal
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, is_literal=is_literal or name in _LITERAL)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, is_literal=is_literal)


def _mapped(value: Any, values: Mapping[str, str], *, is_loose: bool) -> Any:  # noqa: ANN401 - YAML
    """Return a document with its substitutions made."""
    if isinstance(value, str):
        return _replaced(value, values, is_loose=is_loose)
    if isinstance(value, list):
        return [_mapped(each, values, is_loose=is_loose) for each in value]
    if isinstance(value, dict):
        return {
            name: each if name in _LITERAL else _mapped(each, values, is_loose=is_loose)
            for name, each in value.items()
        }
    return value


def _replaced(text: str, values: Mapping[str, str], *, is_loose: bool) -> str:
    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1] or found[2]
        if not name or not (name in BUILT_IN or _USER.fullmatch(name)):
            raise BuildRefusedError(f"{found[0]} is not a valid built-in substitution")
        if name not in values and name not in BUILT_IN and not is_loose:
            raise BuildRefusedError(f"{name} has no value")
        return values.get(name, "")

    return _PLACE.sub(value, text)
