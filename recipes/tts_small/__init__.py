"""A small streaming synthesiser at 16 kHz: speech tokens, language model, flow and vocoder, trained one by one."""
