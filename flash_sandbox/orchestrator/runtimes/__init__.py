"""The runtimes: what runs a sandbox. `catalogue` has their names."""
