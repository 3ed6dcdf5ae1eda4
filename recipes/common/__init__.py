"""What the recipes share: corpora, decoded audio, text, settings, stages, and training that resumes exactly."""
