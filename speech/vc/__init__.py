"""One voice into another: content features and a target to mel frames, chunk by chunk, by mean flows."""
