"""
Processor time of rules: a page of 50,000 files, all of which are judged, and none from memory.

Each commit runs a program of its own in its environment, as what is called differs. They take
turns, round by round.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.processes import run
from benchmarks.report import Figure
from benchmarks.servers import checked_out, environment, installed, settle
from tests.clients.harness import REPOSITORY

ROUNDS: Final = 7
PAGES: Final = (
    "all rules of [upstream]",
    "all rules of [upstream], most files hidden",
    "a view, by age, version and pre-release",
)
"""What the programs measure, in this order."""
FILES: Final = """
import time
from datetime import UTC, datetime, timedelta
from random import Random
from wheelyard.model.licences import parse_licence_patterns
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import Decision, Verdict, decisions_about
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy.advisories import Advisory, Hit
NOW, COUNT, random = datetime(2026, 1, 1, tzinfo=UTC), 50_000, Random(1)
def uploaded(share): return NOW - timedelta(days=30 if random.random() < share else 1)
def page(share):
    files = tuple(
        UpstreamFile(
            filename=f"d-{number // 10}.0-{number}.whl", version=f"{number // 10}.0", url="u",
            sha256=str(number), uploaded_at=uploaded(share), has_metadata=True,
        )
        for number in range(COUNT)
    )
    return UpstreamPage(name="d", upstream="x", fetched_at=NOW, files=files)
def approval(version, sha256=None):
    return Decision(
        at=NOW, by="b", verdict=Verdict.APPROVED, project="d", version=version, sha256=sha256
    )
pages = [page(0.95), page(0.3)]
versions = [f"{number}.0" for number in range(COUNT // 10)]
decisions = decisions_about([approval(""), *(approval(each, ("1",)) for each in versions[:50])])
hits = {version: Hit((Advisory("A", False, 8.0),), "") for version in versions[:200]}
noted = {version: "GPL-3.0-only" for version in versions[300:400]}
project = Project(
    name="d",
    files=tuple(
        File(
            filename=f"d-{number // 10}.0-{number}.whl", version=f"{number // 10}.0", size=1,
            sha256=str(number), uploaded_at=uploaded(0.95), uploaded_by="b",
        )
        for number in range(COUNT)
    ),
)
def spent(judge):
    begun = time.process_time()
    judge()
    return 1000 * (time.process_time() - begun)
"""
"""What both programs judge."""
NOW_RULES: Final = """
from wheelyard.model.rule_keys import RuleKeys
from wheelyard.model.rule_rows import rules_of_index, rules_of_upstream
from wheelyard.model.licences import LOOKED_UP_LATER
from wheelyard.model.rules import Facts
from wheelyard.upstream.policy.facts import PageFacts
upstream = rules_of_upstream(RuleKeys(
    cooldown_days=7, snapshot="2025-12-31", approval=True, min_cvss=7, blocked_licenses=("GPL-*",)
))
def judge(page):
    licences = {file.filename: noted.get(file.version, LOOKED_UP_LATER) for file in page.files}
    facts = PageFacts(page=page, decisions=decisions, hits=hits, licences=licences)
    upstream.judge(page.files, map(facts.of, page.files), NOW)
index = rules_of_index(
    RuleKeys(cooldown_days=7, prereleases=False, versions={"*": "<9999"}), "stable"
)
def view():
    facts = (
        Facts(
            name="d", version=file.version, uploaded_at=file.promoted_at or file.uploaded_at,
            is_private=True, is_yanked=file.yanked is not None,
        )
        for file in project.files
    )
    index.judge(project.files, facts, NOW)
"""
FILTERS: Final = """
from wheelyard.model.view_filter.facts import FileFacts
from wheelyard.model.view_filter.language import parse_filter
from wheelyard.upstream.policy.evaluation import Evaluation
from wheelyard.upstream.policy.rules import PolicyRules
from wheelyard.views.view import View
patterns = parse_licence_patterns(("GPL-*",))
rules = PolicyRules(
    cooldown=timedelta(days=7), snapshot=datetime(2025, 12, 31, 23, 59, tzinfo=UTC),
    needs_approval=True, blocked_licences=patterns,
)
def judge(page):
    licences = {version: text for version, text in noted.items() if patterns.blocks(text)}
    Evaluation(
        rules=rules, page=page, now=NOW, decisions=decisions, advisories=hits, licences=licences
    ).view("")
view_of_filter = View.__new__(View)
view_of_filter._name = "stable"
view_of_filter._filter = parse_filter("age_days >= 7 and not prerelease and version < '9999'")
def view():
    facts = {
        file.filename: FileFacts(
            name="d", version=file.version, uploaded_at=file.promoted_at or file.uploaded_at,
            is_approved=True, is_yanked=file.yanked is not None,
        )
        for file in project.files
    }
    view_of_filter._judge(project.files, facts, NOW, None, is_lasting=False)
"""
"""Of a commit with filters."""
END: Final = """
print(spent(lambda: judge(pages[0])), spent(lambda: judge(pages[1])), spent(view))
"""


def measure(folder: Path, older: str = "") -> list[Figure]:
    """Measure rules over 50,000 files, beside those of an `older` commit."""
    trees = {"wheelyard": REPOSITORY} | ({older: checked_out(folder, older)} if older else {})
    values = {name: list[list[float]]() for name in trees}
    for _ in range(ROUNDS):
        for name, tree in trees.items():
            values[name].append(_judged(folder, tree))
    return [_figure(number, page, values, older) for number, page in enumerate(PAGES)]


def _judged(folder: Path, tree: Path) -> list[float]:
    """Return the milliseconds of processor time of each of `PAGES`."""
    has_rules = (tree / "src/wheelyard/model/rules.py").exists()
    program = FILES + (NOW_RULES if has_rules else FILTERS) + END
    settle()
    spent = run([installed(tree=tree), "-c", program], environment(folder, tree))
    return [float(word) for word in spent.printed.split()]


def _figure(number: int, page: str, values: dict[str, list[list[float]]], older: str) -> Figure:
    def column(name: str) -> Sequence[float]:
        return [row[number] for row in values[name]]

    return Figure(
        name=f"processor time of a page of 50,000 files, {page}",
        unit="ms",
        ours=column("wheelyard"),
        theirs=column(older) if older else (),
        versus=older,
        target="<= 1x the older commit",
    )
