"""What threads share, whatever it is about; knows nothing of indexes."""
