"""Directories that sandboxes have from outside: which ones they may have, and how they are opened."""
