"""The MCP surface: tools, resources, prompts and completions over stdio and Streamable HTTP.

Nothing below this package knows MCP. Importing it loads `mcp` and pydantic, never the rooms of the bank.
"""
