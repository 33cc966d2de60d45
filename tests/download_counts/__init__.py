"""Tests of the counts of downloads."""
