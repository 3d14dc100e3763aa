"""Text to unit vectors: backends behind one protocol, batched on one worker thread, kept per content and model."""
