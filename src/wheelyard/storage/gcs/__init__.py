"""A store in a bucket; the only room that knows google-cloud-storage."""
