"""Speech tokens to mel frames by flow matching: encoder, velocity networks, solver, objectives and streams."""
