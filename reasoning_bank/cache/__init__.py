"""Caches by name, in memory, in files and in Redis: they save work, never decide an answer."""
