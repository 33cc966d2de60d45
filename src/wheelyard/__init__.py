"""A private Python package index that lives in your own bucket, or in a folder."""
