"""
Imports from another index, a folder or a bucket; the source is not changed.

A source is read once, as a stream. Files are fetched and validated in parallel, and files of one
project share commits. Files that are listed already are skipped as cheaply as the source allows, so
a repeated import continues an interrupted one. Only an error of the store stops an import.
"""
