"""What the process measured about itself."""
