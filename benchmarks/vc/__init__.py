"""`vc`: a converter's stages, what a chunk costs early and late, its delay and its memory."""
