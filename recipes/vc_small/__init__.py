"""The recipe of the small voice converter: content, speaker, network and vocoder, a stage for each."""
