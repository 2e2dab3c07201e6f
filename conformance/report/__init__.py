"""What a test session leaves behind: the schema of its results files."""
