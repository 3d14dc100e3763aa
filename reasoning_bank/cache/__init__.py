"""In-process caches: they save work, never decide an answer."""
