"""A small streaming FastConformer, hybrid CTC and transducer, trained from a few hours of speech upwards."""
