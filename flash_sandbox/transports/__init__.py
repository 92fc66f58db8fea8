"""Who performs an operation: one module a wire, each with a synchronous and an asynchronous half."""
