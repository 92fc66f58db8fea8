"""The snapshots of an orchestrator's own store."""
