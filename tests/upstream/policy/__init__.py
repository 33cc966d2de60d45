"""Tests of what is shown of upstream indexes."""
