"""The loop of every call, awaited; `transports/sync` is derived from it."""
