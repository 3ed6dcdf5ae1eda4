"""The recipe that turns a Whisper into a causal one, which writes while it listens."""
