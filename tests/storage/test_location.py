"""Places in buckets of the services."""

import pytest

from wheelyard.errors import Invalid
from wheelyard.storage.location import parse_location


def test_the_website_of_azure() -> None:
    """The container that Azure serves as a website has a name like no other."""
    assert str(parse_location("az://$web/python/")) == "az://$web/python"
    with pytest.raises(Invalid):
        parse_location("s3://$web")
