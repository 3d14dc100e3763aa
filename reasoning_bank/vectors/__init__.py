"""Finding vectors: exact in this process, and a disposable index beside the truth."""
