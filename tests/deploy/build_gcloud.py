"""
A program that stands for gcloud, and remembers in a file what it was told to make.

    python build_gcloud.py STATE FAILING COMMAND...

It refuses what Google refuses: to make what is there, to take away or to bind what is not, to run
what lacks its image, its account or its settings. A line that begins with FAILING always fails.
"""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

KINDS: Final = {
    "artifacts repositories": "repository",
    "iam roles": "role",
    "iam service-accounts": "account",
    "run services": "service",
    "secrets": "secret",
    "storage buckets": "bucket",
}
"""By the words of a command, what it is about."""
PROJECT: Final = "acme-index"
NUMBER: Final = "123456789012"


class RefusedError(Exception):
    """What Google would answer with an error."""


class World:
    """A project at Google."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.things: dict[str, str] = known.get("things", {})
        self.bindings: list[list[str]] = known.get("bindings", [])
        self.lines: list[str] = known.get("lines", [])
        self.deleted: list[str] = known.get("deleted", [])
        """Roles that are gone, whose names are not free for weeks."""

    def do(self, words: Sequence[str], failing: str) -> str:
        """Carry out a command; returns what it prints."""
        if failing and re.match(failing, " ".join(words)):
            raise RefusedError("the network is gone")
        names = [word for word in words if not word.startswith("--")]
        flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
        if names[0] == "projects":
            return self._project(names[1], flags)
        single: dict[str, Callable[[list[str], dict[str, str]], object]] = {
            "artifacts docker": self._image,
            "builds submit": self._build,
            "config get": lambda *_: sys.stdout.write("ana@acme.dev\n"),
            "services enable": lambda *_: None,
            "storage rm": self._empty,
        }
        if act := single.get(" ".join(names[:2])):
            act(names, flags)
            return ""
        words_of_kind = 1 if names[0] == "secrets" else 2
        kind = KINDS[" ".join(names[:words_of_kind])]
        verb, *rest = names[words_of_kind:]
        if verb == "list":
            return "".join(f"{each}\n" for each in self._named(kind))
        return self._change(kind, verb, rest[0].removeprefix("gs://"), flags)

    def _change(self, kind: str, verb: str, name: str, flags: dict[str, str]) -> str:
        if verb in ("create", "undelete"):
            self._make(f"{kind}:{name}", flags, is_new=verb == "create")
        elif verb == "replace":
            self._serve(yaml.safe_load(sys.stdin))
        else:
            self._require(f"{kind}:{name}")
            if verb == "describe":
                return self._described(f"{kind}:{name}", flags["format"])
            if verb == "delete":
                self._forget(f"{kind}:{name}")
            elif verb == "add-iam-policy-binding":
                self._bind(f"{kind}:{name}", flags)
            else:
                self._update(f"{kind}:{name}", flags)
        return ""

    def _described(self, what: str, form: str) -> str:
        """Return the values that are asked for, as `value(...)` prints them."""
        known = json.loads(self.things[what])
        asked = form.removeprefix("value(").removesuffix(")").split(",")
        return "\t".join(str(known.get(name, "")) for name in asked) + "\n"

    def _update(self, what: str, flags: dict[str, str]) -> None:
        """Change a bucket or a repository."""
        known = json.loads(self.things[what] or "{}")
        if "policy" in flags:
            known["cleanup"] = json.loads(Path(flags["policy"]).read_text())
        if "versioning" in flags:
            known["versioning_enabled"] = True
        if "lifecycle-file" in flags:
            known["lifecycle"] = json.loads(Path(flags["lifecycle-file"]).read_text())
        if "update-labels" in flags:
            name, _, value = flags["update-labels"].partition("=")
            known[f"labels.{name}"] = value
        self.things[what] = json.dumps(known)

    def _make(self, what: str, flags: dict[str, str], *, is_new: bool) -> None:
        if what.startswith("account:"):
            what = f"{what}@{PROJECT}.iam.gserviceaccount.com"
        self._require(what, there=False)
        if is_new == (what in self.deleted):
            raise RefusedError(f"{what} was deleted" if is_new else f"NOT_FOUND: {what}")
        self.deleted = [each for each in self.deleted if each != what]
        self.things[what] = sys.stdin.read() if "data-file" in flags else ""
        if what.startswith("bucket:"):
            is_uniform = "uniform-bucket-level-access" in flags
            access = "enforced" if "public-access-prevention" in flags else "inherited"
            known = {"uniform_bucket_level_access": is_uniform, "public_access_prevention": access}
            self.things[what] = json.dumps(known)

    def _project(self, verb: str, flags: dict[str, str]) -> str:
        if verb == "describe":
            return f"{NUMBER}\n"
        if verb == "get-iam-policy":
            members = [member for what, member, _ in self.bindings if what == "project"]
            return "".join(f"{member}\n" for member in members)
        if verb == "add-iam-policy-binding":
            self._bind("project", flags)
        else:
            self.bindings.remove(["project", flags["member"], flags["role"]])
        return ""

    def _image(self, names: list[str], flags: dict[str, str]) -> None:
        del flags
        self._require(f"image:{names[-1]}")

    def _build(self, names: list[str], flags: dict[str, str]) -> None:
        del names
        account = flags["service-account"].rpartition("/")[2]
        self._require(f"account:{account}")
        self._require_bound("repository:wheelyard", account, "roles/artifactregistry.writer")
        bucket = flags["gcs-source-staging-dir"].split("/")[2]
        self._require_bound(f"bucket:{bucket}", account, "roles/storage.objectViewer")
        self._require_bound("project", account, "roles/logging.logWriter")
        self.things[f"image:{flags['substitutions'].removeprefix('_IMAGE=')}"] = ""

    def _serve(self, service: dict[str, Any]) -> None:
        spec = service["spec"]["template"]["spec"]
        account = spec["serviceAccountName"]
        self._require(f"image:{spec['containers'][0]['image']}")
        for volume in spec["volumes"]:
            if secret := volume.get("secret", {}).get("secretName"):
                self._require_bound(
                    f"secret:{secret}", account, "roles/secretmanager.secretAccessor"
                )
        self.things[f"service:{service['metadata']['name']}"] = json.dumps(service)

    def _empty(self, names: list[str], flags: dict[str, str]) -> None:
        if flags.keys() != {"all-versions", "recursive"}:
            raise RefusedError("versions would stay")
        self._require(f"bucket:{names[-1].removeprefix('gs://')}")
        self._forget(f"bucket:{names[-1].removeprefix('gs://')}")

    def _bind(self, what: str, flags: dict[str, str]) -> None:
        if flags["member"].startswith("serviceAccount:"):
            self._require(flags["member"].replace("serviceAccount:", "account:"))
        if flags["role"].startswith("projects/"):
            self._require(f"role:{flags['role'].rpartition('/')[2]}")
        bound = [what, flags["member"], flags["role"]]
        if bound not in self.bindings:
            self.bindings.append(bound)

    def _forget(self, what: str) -> None:
        if what.startswith("role:"):
            self.deleted.append(what)
        del self.things[what]
        self.bindings = [each for each in self.bindings if each[0] != what]
        if what.startswith("repository:"):
            images = [each for each in self.things if each.startswith("image:")]
            for each in images:
                del self.things[each]

    def _named(self, kind: str) -> list[str]:
        path = {"repository": f"projects/{PROJECT}/locations/europe-west1/repositories/"}
        names = [
            each.removeprefix(f"{kind}:") for each in self.things if each.startswith(f"{kind}:")
        ]
        return [path.get(kind, "") + name for name in names]

    def _require(self, what: str, *, there: bool = True) -> None:
        if (what in self.things) != there:
            raise RefusedError(f"NOT_FOUND: {what}" if there else f"{what} already exists")

    def _require_bound(self, what: str, account: str, role: str) -> None:
        if [what, f"serviceAccount:{account}", role] not in self.bindings:
            raise RefusedError(f"PERMISSION_DENIED: {account} has no {role} on {what}")


def main(state: str, failing: str, *words: str) -> int:
    """Carry out a command, and remember it."""
    file = Path(state)
    world = World(json.loads(file.read_text()) if file.exists() else {})
    world.lines.append(" ".join(words))
    try:
        sys.stdout.write(world.do(words, failing))
    except RefusedError as error:
        sys.stderr.write(f"ERROR: (gcloud) {error}\n")
        return 1
    finally:
        file.write_text(json.dumps(vars(world)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
