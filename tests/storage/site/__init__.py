"""Tests of the places that a static site is written to."""
