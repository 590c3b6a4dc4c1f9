"""What a peer does about others whose states are wrong, by accident or by intent. Pure."""
