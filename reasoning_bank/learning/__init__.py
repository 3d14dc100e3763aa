"""From what happened to what was learned, without junk: rules, drafts from clients, and one gate for all."""
