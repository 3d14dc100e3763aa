"""Text as data: terms, fields, tokens, sanity."""
