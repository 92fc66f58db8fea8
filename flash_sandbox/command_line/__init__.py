"""The commands of ``flash-sandbox``: one module a group of them, over the public clients.

They print what a person reads, or with ``--json`` what a program does: the fields of the SDK's models under
their own names. A command that fails says why on standard error, in one line, and ends with the status 125.
"""
