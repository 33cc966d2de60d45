"""Places in buckets of the services."""

import pytest

from wheelyard.errors import Invalid
from wheelyard.storage.location import parse_location


def test_the_website_of_azure() -> None:
    """The container $web, which Azure serves as a website, is a place, and $web on S3 is none."""
    assert str(parse_location("az://$web/python/")) == "az://$web/python"
    with pytest.raises(Invalid):
        parse_location("s3://$web")
