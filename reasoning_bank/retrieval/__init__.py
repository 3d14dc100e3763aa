"""From a question to the few memories that help, or an honest nothing."""
