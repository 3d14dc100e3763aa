"""reasoning-bank: a durable, shared memory bank for AI assistants over MCP."""
