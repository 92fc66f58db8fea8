"""What the gvisor runtime is made of.

::

    runsc       the runsc program: where it is, what it knows, how it is run
    bundle      OCI bundles: what runsc is to run
    container   one container: started, restored, paused, saved and ended, with its cgroup
    agent_pipes the pipes between the orchestrator and a container's agent
    orphans     runsc started, and the end of it and of the processes that it leaves behind
    records     what the next orchestrator must know of a container
"""
