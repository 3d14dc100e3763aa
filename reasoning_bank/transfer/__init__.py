"""Rows in, rows out: import and export of whole workspaces as JSONL."""
