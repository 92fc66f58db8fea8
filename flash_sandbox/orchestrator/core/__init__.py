"""The service core: what each operation does, whichever front door and whichever runtime it is for."""
