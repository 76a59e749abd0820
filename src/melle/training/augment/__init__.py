"""What changes training batches: more voices and longer texts than a corpus has. Each takes a batch and gives one."""
