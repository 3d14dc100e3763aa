"""One file per schema revision, each leading from the one before."""
