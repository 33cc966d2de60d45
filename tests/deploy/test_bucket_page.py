"""docs/bucket.md: the rights that it names are those of the files, and its sums are right."""

import json
import re

from tests.clients.harness import REPOSITORY
from tests.deploy.running import DEPLOY

PAGE = (REPOSITORY / "docs" / "bucket.md").read_text()


def _section(title: str) -> str:
    rest = PAGE.partition(f"\n{title}\n")[2]
    assert rest
    return re.split(r"\n#+ ", rest)[0]


def _rows(text: str) -> dict[str, list[str]]:
    """Return the cells of the rows of tables, by the first one."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if row}


def test_the_table_of_rights_is_the_policy() -> None:
    """The table of rights on S3 has the actions of the policy, each on what the policy says."""
    statements = json.loads((DEPLOY / "aws" / "policy.json").read_text())["Statement"]
    allowed = {
        (action, statement["Resource"].removeprefix("arn:aws:s3:::${").replace("}", ""))
        for statement in statements
        for action in [statement["Action"]] * isinstance(statement["Action"], str)
        or statement["Action"]
    }
    named = {
        (action.strip("`"), cells[0].strip("`"))
        for action, cells in _rows(_section("### Amazon S3")).items()
        if action.startswith("`s3:")
    }

    assert named == allowed
