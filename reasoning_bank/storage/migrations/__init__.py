"""Alembic's side of the schema: loaded only when a bank is behind."""
