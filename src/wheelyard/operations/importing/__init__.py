"""
Imports from another index, a folder, a bucket or a list. A source is only read.

A source is read once, as a stream. Files are fetched and validated in parallel, and files of one
project share commits. Files that are listed already are skipped as cheaply as the source allows, so
a repeated import continues an interrupted one. An import stops if the store does not answer or the
whole source is unusable. Any other error refuses only the file or the project that it is about.

1. `cli/import_command.py` opens the source and the index. Each kind of source is a module of
   `sources/` that yields candidates: a filename, how to get the bytes, and what the source says
   about them (times, digests, yanks). Buckets of all services are read through
   `storage/bucket_reader.py`: listed, and each object at the version that was listed.
2. `operations/importing/parallel_import.py` parses each filename and collects candidates until
   several files of one project can be one commit. A group goes to a thread.
3. `operations/importing/project_import.py` skips the files that the project has already. It fetches
   every other file into the spool, compares its size and digests with those of the source, and
   validates the archive as an upload would.
4. The bytes are stored, and the group is one commit. New names are added to the list of names by
   the hundred.
5. The result of each file goes to the report. A refused file stops nothing. A store that does not
   answer stops the import. The next import continues where this one has stopped.

A file in a watched folder is imported when two scans have found it unchanged. To look at its age
alone would be less code. But the clock of a network share may be hours off, and a file that is half
written would then seem complete.
"""
