"""Tests of signing in with providers."""
