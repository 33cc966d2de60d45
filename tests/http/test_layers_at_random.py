"""Indexes with layers and rights, driven at random and compared over HTTP with a model."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import json
from packaging.utils import NormalizedName

from tests.access.access_fixture import PASSWORD
from tests.access.index_matrix import LOGIN
from tests.access.principals import basic
from tests.distributions import Distribution, make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from wheelyard.model.access import matches_any, parse_pattern
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import GrantFields
from wheelyard.operations.lifecycle import ReleaseAction, Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.wiring.index import Index

pytestmark = pytest.mark.slow

Headers = tuple[tuple[str, str], ...]

MAIN, DEV, PROD, BOTH = "main", "dev", "prod", "both"
PLACES = {MAIN: "", DEV: "/dev", PROD: "/prod", BOTH: "/both"}
OWN = (MAIN, DEV, PROD)
"""The indexes with packages. The other one shows those of its layers."""
PROJECTS = ("acme-core", "tools")
VERSIONS = ("1.0", "2.0")
PATTERNS = ("*", "acme-*", "tools")
CALLERS: dict[str, Headers] = {
    "ana": basic("ana", PASSWORD),
    "bo": basic("bo", PASSWORD),
    "nobody": basic("nobody", PASSWORD),
    "anonymous": (),
}
GROUP = "group:team"
GRANTEES = ("htpasswd:ana", "htpasswd:bo", GROUP)
BY = "local:test"
JSON = ("accept", "application/vnd.pypi.simple.v1+json")

own_indexes = st.sampled_from(OWN)
projects = st.sampled_from(PROJECTS)
versions = st.sampled_from(VERSIONS)
layers = st.lists(own_indexes, min_size=1, max_size=3, unique=True)
Release = tuple[str, str]
"""A project and a version, which has one file."""


def wheel_of(release: Release) -> Distribution:
    """Return the file of a release, with the same bytes in every index."""
    project, version = release
    return make_wheel(project.replace("-", "_"), version)


@dataclass(frozen=True)
class ReadGrant:
    """A grant of reading, as the model has it."""

    who: str
    pattern: str
    index: str
    """The indexes that it names, with commas between, or `*`, or nothing."""


@dataclass
class Model:
    """What the indexes have, and who may read it."""

    listed: dict[str, set[Release]] = field(default_factory=lambda: {name: set() for name in OWN})
    deleted: dict[str, set[Release]] = field(default_factory=lambda: {name: set() for name in OWN})
    layers: list[str] = field(default_factory=lambda: [PROD, DEV])
    merged: list[str] = field(default_factory=list)
    """The names whose files come from every layer."""
    grants: dict[str, ReadGrant] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    """The members of the group."""

    def shown(self, index: str, project: str) -> set[str] | None:
        """Return the versions of a project that an index shows, or None if it has no such one."""
        parts = [index]
        if index == BOTH:
            parts = [part for part in self.layers if self._has(part, project)]
            if project not in self.merged:
                parts = parts[:1]
        found = [self._versions(part, project) for part in parts if self._has(part, project)]
        if not found:
            return None
        return set[str]().union(*found)

    def may_read(self, caller: str, index: str, project: str) -> bool:
        """Return whether a grant lets a caller read a project of an index, existing or not."""
        principals = {f"htpasswd:{caller}"}
        if f"htpasswd:{caller}" in self.members:
            principals.add(GROUP)
        return any(
            grant.who in principals
            and self.holds(grant, index)
            and matches_any([parse_pattern(grant.pattern)], project)
            for grant in self.grants.values()
        )

    def holds(self, grant: ReadGrant, index: str) -> bool:
        """Return whether a grant holds in an index: the one rule here about indexes of rights."""
        return grant.index == "*" or index in (grant.index or MAIN).split(",")

    def known(self, project: str) -> set[str]:
        """Return the versions of a project that any index has or had."""
        parts = (*self.listed.values(), *self.deleted.values())
        return {version for part in parts for name, version in part if name == project}

    def _has(self, index: str, project: str) -> bool:
        # a project stays, and hides that of other layers, if all its files are deleted
        return any(project == name for name, _ in self.listed[index] | self.deleted[index])

    def _versions(self, index: str, project: str) -> set[str]:
        return {version for name, version in self.listed[index] if name == project}


class LayersMachine(RuleBasedStateMachine):
    """Uploads, deletions, promotions, layers, grants and groups, compared after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(TemporaryDirectory()))
        self.server: InProcessServer = self.stack.enter_context(
            in_process(folder, private_settings(folder), tables=toml_of(main=OPEN_MAIN) + ROOT)
        )
        administration = self.server.index.server.index_administration
        for name in (DEV, PROD):
            administration.add({"name": name}, BY)
        administration.add({"name": BOTH, "layers": [PROD, DEV]}, BY)
        self.server.index.server.access.edit_group("make", "team", (), BY)
        self.model = Model()

    def index(self, name: str) -> Index:
        """Return an index by its name."""
        if name == MAIN:
            return self.server.index
        return self.server.index.named(name)

    @rule(index=own_indexes, project=projects, version=versions)
    def upload(self, index: str, project: str, version: str) -> None:
        """Upload a release, which may be there, unless it was deleted there."""
        release = (project, version)
        if release in self.model.deleted[index]:
            return
        arrival = wheel_of(release).arrival(self.server.folder)
        self.index(index).uploads.accept(arrival, ALICE)
        self.model.listed[index].add(release)

    @precondition(lambda self: any(self.model.listed.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a release from an index."""
        index, release = data.draw(st.sampled_from(flat(self.model.listed)))
        self._change("delete", index, release)
        self.model.listed[index].remove(release)
        self.model.deleted[index].add(release)

    @precondition(lambda self: any(self.model.deleted.values()))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Restore a deleted release."""
        index, release = data.draw(st.sampled_from(flat(self.model.deleted)))
        self._change("restore", index, release)
        self.model.deleted[index].remove(release)
        self.model.listed[index].add(release)

    @precondition(lambda self: any(self.model.listed.values()))
    @rule(data=st.data(), to=own_indexes)
    def promote(self, data: st.DataObject, to: str) -> None:
        """Promote a release to another index, which may have it, unless it was deleted there."""
        source, release = data.draw(st.sampled_from(flat(self.model.listed)))
        if source == to or release in self.model.deleted[to]:
            return
        project, version = release
        runtime = self.server.index.server.runtime
        promotion = Promotion(self._side(source), self._side(to), runtime)
        promotion.promote(NormalizedName(project), parse_version(version))
        self.model.listed[to].add(release)

    @rule(stacked=layers, merged=st.lists(projects, unique=True))
    def stack_layers(self, stacked: list[str], merged: list[str]) -> None:
        """Give the index of others other layers, and other names that it merges."""
        names = [written_name(name) for name in stacked]
        table = {"layers": names, "merge": merged}
        self.server.index.server.index_administration.change(BOTH, table, BY)
        self.model.layers, self.model.merged = stacked, merged

    @rule(
        who=st.sampled_from(GRANTEES),
        pattern=st.sampled_from(PATTERNS),
        index=st.sampled_from(["", MAIN, DEV, PROD, BOTH, f"{DEV},{PROD}", "*"]),
    )
    def grant(self, who: str, pattern: str, index: str) -> None:
        """Grant reading in an index, in two, in all, or without one."""
        fields = GrantFields(who=(who,), projects=(pattern,), actions=("read",), index=index)
        granted = self.server.index.server.access.grant(fields, BY)
        self.model.grants[granted] = ReadGrant(who, pattern, index)
        self._wait()

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """Revoke a grant, which may be the last one of its index."""
        granted = data.draw(st.sampled_from(sorted(self.model.grants)))
        self.server.index.server.access.revoke(granted, BY)
        del self.model.grants[granted]
        self._wait()

    @rule(who=st.sampled_from(GRANTEES[:2]))
    def join_or_leave(self, who: str) -> None:
        """Add somebody to the group, or take them out of it."""
        self.model.members ^= {who}
        self.server.index.server.access.edit_group("set", "team", self.model.members, BY)
        self._wait()

    @invariant()
    def lists_have_what_the_caller_may_read(self) -> None:
        """Every list of an index has the projects that it shows and the caller may read."""
        for caller, (index, path) in product(CALLERS, PLACES.items()):
            names = [name for name in PROJECTS if self._expected(caller, index, name) is not None]
            listed = self._get(caller, f"{path}/simple/")
            found = self._get(caller, f"{path}/search.json")
            if caller == "anonymous":
                assert (listed, found) == ((401, b""), (401, b""))
                continue
            assert [each["name"] for each in json.decode(listed[1])["projects"]] == names
            assert [row[0] for row in json.decode(found[1])] == names

    @invariant()
    def pages_have_what_the_caller_may_read(self) -> None:
        """The page of a project, and its files, are for whoever may read it in that index."""
        for caller, (index, path), project in product(CALLERS, PLACES.items(), PROJECTS):
            expected = self._expected(caller, index, project)
            status, body = self._get(caller, f"{path}/simple/{project}/")
            if expected is None:
                assert status in {401, 404}
            else:
                assert set(json.decode(body)["versions"]) == expected
            for version in self.model.known(project):
                made = wheel_of((project, version))
                file = f"{path}/files/{project}/{made.sha256}/{made.filename}"
                is_sent = self._get(caller, file)[0] == 200
                assert is_sent == (version in (expected or ()))

    def teardown(self) -> None:
        """Close the server, and remove its folder."""
        self.stack.close()

    def _expected(self, caller: str, index: str, project: str) -> set[str] | None:
        if not self.model.may_read(caller, index, project):
            return None
        return self.model.shown(index, project)

    def _get(self, caller: str, path: str) -> tuple[int, bytes]:
        """Return the status of a path, and what it has if that is for this caller."""
        answer = self.server.get(path, *CALLERS[caller], JSON)
        if answer.status != 200:
            return answer.status, b""
        return answer.status, answer.body

    def _side(self, index: str) -> IndexSide:
        return IndexSide(uploads=self.index(index).uploads, caller=ALICE)

    def _change(self, action: ReleaseAction, index: str, release: Release) -> None:
        project, version = release
        selection = Selection(parse_version(version))
        change = self.index(index).lifecycle.change
        change(action, ALICE, NormalizedName(project), selection, "")

    def _wait(self) -> None:
        """Wait until nothing is remembered of callers as they were."""
        self.server.clock.advance(seconds=2)


def flat(releases: dict[str, set[Release]]) -> list[tuple[str, Release]]:
    """Return each release with its index, in order."""
    return sorted((index, release) for index, found in releases.items() for release in found)


def written_name(index: str) -> str:
    """Return the name of an index as layers have it."""
    if index == MAIN:
        return ""
    return index


ROOT = toml_of(grant=[{"who": ["htpasswd:root"], "projects": ["*"], "actions": ["admin"]}])


def private_settings(folder: Path) -> Settings:
    """Return settings with which nobody may read anything without a grant of the store."""
    file = folder / "htpasswd"
    file.write_text("".join(f"{name}:{LOGIN}\n" for name in ("ana", "bo", "nobody", "root")))
    file.chmod(0o600)
    access = AccessSettings(private=True, htpasswd_may=(), htpasswd_file=str(file))
    return Settings(access=access)


LayersMachine.TestCase.settings = settings(max_examples=6, stateful_step_count=20, deadline=None)
TestLayers = LayersMachine.TestCase
