"""What the gvisor runtime is made of.

::

    program     the runsc program: where it is, what it knows, how it is run
    bundle      OCI bundles: what runsc is to run
    container   one container: started, restored, paused, saved and ended, with its cgroup
    commands    commands in a container, and their end
    supervisor  the program that watches over a command's processes from inside
    orphans     hearing of the end of processes that runsc leaves behind
    records     what the next orchestrator must know of a container
"""
