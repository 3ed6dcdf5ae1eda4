"""Every kernel beside its PyTorch reference; one module of cases an op."""
