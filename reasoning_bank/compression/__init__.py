"""Prompts within a token budget: nothing lost first, then only whole units, and a mark where something was cut."""
