"""Docker Engine over its API: no command line, no library but the HTTP client that is there anyway."""
