"""Programs that either library runs: they use what both have in common and nothing else."""
