"""Tests of what threads share."""
