"""Real clients of an index in a bucket: what they download, and what they see while it is out."""
