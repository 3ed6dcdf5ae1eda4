"""`tts`: a synthesiser's stages, what a second of speech costs early and late, its first sound and its memory."""
