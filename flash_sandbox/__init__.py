"""Run untrusted code in sandboxes: one interface over HTTP and gRPC."""
