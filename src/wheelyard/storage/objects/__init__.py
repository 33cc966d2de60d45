"""Stores in S3 buckets and Azure containers, on obstore; imported when one is opened."""
