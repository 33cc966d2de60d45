"""Opens a site in a bucket, in which pauses take no time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.storage.cloud.opened import StillTime
from wheelyard.storage.cloud.location import parse_location
from wheelyard.storage.cloud.opening import Surroundings, open_web
from wheelyard.storage.site.bucket import BucketSite
from wheelyard.storage.spool import Spool
from wheelyard.storage.tally import Tally


@contextmanager
def bucket_site(
    spool: Path, location: str = "gs://site", still: StillTime | None = None
) -> Iterator[BucketSite]:
    """Yield the site in a bucket where the environment leads, and close it in the end."""
    still = still or StillTime()
    surroundings = Surroundings(
        now=time.time,  # noqa: TID251 - of signatures, which nobody makes here
        monotonic=still.monotonic,
        pause=still.pause,
        random=Random(),
        tally=Tally(),
    )
    site = BucketSite(open_web(parse_location(location), surroundings), Spool(spool))
    try:
        yield site
    finally:
        site.close()
