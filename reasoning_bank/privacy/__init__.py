"""What must not be kept: secrets leave every text before disk, log, index and model see it."""
