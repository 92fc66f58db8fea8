"""What the bubblewrap runtime is made of: launcher, seccomp filter, cgroups, root file systems."""
