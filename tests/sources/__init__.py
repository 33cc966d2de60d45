"""Tests of where packages come from."""
