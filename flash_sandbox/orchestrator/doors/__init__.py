"""The front doors, HTTP and gRPC: connections, authorization, requests, answers, logs and metrics."""
