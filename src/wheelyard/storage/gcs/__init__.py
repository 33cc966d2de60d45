"""The store in a Cloud Storage bucket; the only package that imports google-cloud-storage."""
