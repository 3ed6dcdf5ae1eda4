"""A voice of one's own: a synthesiser fine-tuned on a folder of recordings and texts."""
