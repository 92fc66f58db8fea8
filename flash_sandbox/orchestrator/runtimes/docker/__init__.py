"""The runtimes on Docker Engine's API: docker, and firecracker through Kata Containers."""
