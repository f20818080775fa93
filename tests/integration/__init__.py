"""Whole runs on a real broker."""
