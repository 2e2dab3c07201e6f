"""Adapters that this kit keeps, one tracker a file; registered like everybody's, by entry point."""
