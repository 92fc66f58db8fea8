"""The gate: what sandboxes may reach, and how their connections get there."""
