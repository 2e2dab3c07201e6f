"""What a release asks of a tracker's module, read from its source without importing it."""
