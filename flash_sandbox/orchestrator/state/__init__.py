"""The directory that an orchestrator keeps its state in, and what is to be removed from it."""
