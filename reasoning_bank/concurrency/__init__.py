"""Work side by side: named tasks under one deadline, tools that remember and share, repeats that are noticed."""
