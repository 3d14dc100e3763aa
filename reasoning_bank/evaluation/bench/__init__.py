"""The bank's promises measured: one function per claim, both ways side by side, ratios that a later run is held to."""
