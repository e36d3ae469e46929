"""The kernel that every stage shares, the composition root, the command line and the demo."""
