"""What becomes of an instance that has come, whichever way: C-STORE, C-GET or WADO-RS."""
