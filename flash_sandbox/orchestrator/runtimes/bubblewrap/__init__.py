"""The bubblewrap runtime: a launcher starts bwrap, and bwrap the guest agent."""
