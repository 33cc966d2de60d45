"""
Validation of wheels and sdists that may be hostile, and extraction of their metadata.

Nothing is unpacked, executed or followed. An archive is accepted only if all programs read it
alike. Everything that is wrong with one is raised as Invalid, with the code `invalid_archive`
unless another one is named. Whatever reads members raises Invalid (code `archive_bomb`) if that
takes too much processor time, Unavailable (code `too_busy`) if this machine is too busy to read the
file in time, and OSError if the file cannot be read.

- `distribution_reader.py`: reads one file, wheel or sdist, and compares its metadata with its name
- `wheel.py` and `sdist.py`: what their formats require
- `zip_members.py` and `tar_members.py`: strict readers of the two containers
- `archive_rules.py`: limits, rules for names of members, errors, and which rules an import waives

Only wheels, `.tar.gz` and `.zip` are read. A store of an older version may list eggs and
`.tar.bz2`: `parse_known_filename` (`model/distribution_filename.py`) still knows their names.
"""
