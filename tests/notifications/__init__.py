"""Tests of messages that something waits."""
