"""`speech bench engine`: many live streams of one model."""
