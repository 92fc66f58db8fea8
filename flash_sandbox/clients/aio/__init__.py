"""The asynchronous clients, from which the synchronous ones are derived."""
