"""Data preparation and training, one folder a recipe; each has `run.main(overrides)`."""
