"""
Imports from another index, a folder, a bucket or a list; the source is not changed.

A source is read once, as a stream. Files are fetched and validated in parallel, and files of one
project share commits. Files that are listed already are skipped as cheaply as the source allows, so
a repeated import continues an interrupted one. An import stops if the store does not answer or the
whole source is unusable; any other error refuses only the file or the project that it is about.
"""
