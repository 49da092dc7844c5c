"""What became of a batch, as files: for whom the results are for, and for who may know more."""
