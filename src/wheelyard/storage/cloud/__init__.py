"""A store in a Google Cloud Storage bucket; the only room that knows google-cloud-storage."""
