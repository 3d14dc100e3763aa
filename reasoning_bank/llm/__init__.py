"""Language models: one pooled HTTP client, one file per wire format, and the facade that everything else asks."""
