"""Images: where they come from, and the content-addressed store of what was unpacked from them.

::

    references   what an image's name means                      (pure)
    manifests    what a registry or a layout says of an image    (pure)
    credentials  who to be at a registry
    registry     the distribution protocol over HTTP
    pulling      one image of a registry into the store
    blobs        verified downloads, resumable
    local        images that are on this host: layouts, archives, tar files
    engine       images of the local Docker Engine
    streams      layers as tar streams: decompressed, digested, bounded
    locks        one pull or unpacking at a time, also across processes
    trees        unpacked root file systems, in use or to be evicted
    records      what the store knows by name
    store        all of it together: `ImageStore`
"""
