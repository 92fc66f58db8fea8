"""Root file systems as tar streams: read within bounds, unpacked, and written as layers."""
