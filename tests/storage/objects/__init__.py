"""Tests of the stores in S3 buckets and Azure containers."""
