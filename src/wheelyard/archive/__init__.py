"""
Validation of wheels and sdists that may be hostile, and extraction of their metadata.

Formats that nothing builds any more are known by name only. A store may list eggs and `.tar.bz2`
of an older version, so `parse_known_filename` still gives their project, version and key;
`parse_filename`, which decides what is taken, and `archive/` know wheels, `.tar.gz` and `.zip`
alone.
"""
