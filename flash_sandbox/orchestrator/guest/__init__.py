"""The orchestrator's side of the guest agent, which is PID 1 of a sandbox.

It believes nothing that the agent says.
"""
