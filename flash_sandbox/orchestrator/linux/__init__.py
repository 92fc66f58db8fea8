"""What the kernel offers: cgroups, user namespaces, seccomp, capabilities, trees of files, processes."""
