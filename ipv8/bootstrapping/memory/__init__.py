"""Finding first peers among those of the last run."""
