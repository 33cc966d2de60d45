"""docs/bucket.md: the rights that it names are those of the files, and its sums are right."""

import json
import re
from decimal import ROUND_HALF_UP, Decimal

from tests.clients.harness import REPOSITORY
from tests.deploy.running import DEPLOY

PAGE = (REPOSITORY / "docs" / "bucket.md").read_text()
CENT = Decimal("0.01")


def _section(title: str) -> str:
    found = PAGE.partition(f"\n{title}\n")[2]
    assert found
    return re.split(r"\n#+ ", found)[0]


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


def test_the_costs_follow_from_the_prices() -> None:
    """The costs of a month follow from the prices and the numbers of operations beside them."""
    rows = _rows(_section("## Costs"))

    def prices(name: str) -> list[Decimal]:
        return [Decimal(cell or 0) for cell in rows[name]]

    writes, reads = prices("1,000 writes or listings"), prices("1,000 reads")
    storing, sending = prices("a GB and month"), prices("a GB to the internet")
    free = rows["free in a month"]
    operations = [
        Decimal("11.5") * write + 370 * read for write, read in zip(writes, reads, strict=True)
    ]
    expected: dict[str, list[Decimal]] = {
        "**the month**: 11,500 writes, 370,000 reads": [
            Decimal(0) if "writes" in each else cost
            for each, cost in zip(free, operations, strict=True)
        ],
        "100 GB": [
            (100 - _free(each, "GB$")) * price for each, price in zip(free, storing, strict=True)
        ],
        "210 GB to the internet": [
            max(0, 210 - _free(each, "GB to the internet")) * price
            for each, price in zip(free, sending, strict=True)
        ],
    }
    for name, costs in expected.items():
        assert prices(name) == [Decimal(cost).quantize(CENT, ROUND_HALF_UP) for cost in costs], name


def _free(text: str, unit: str) -> int:
    match = re.search(rf"(\d+) {unit}", text)
    return int(match[1]) if match else 0
