"""Where agents meet sandboxes: one package for each protocol or framework, built on the facade alone."""
