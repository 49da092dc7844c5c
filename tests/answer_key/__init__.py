"""Hard DICOM files made by code, with an answer key, and a scorer that judges any engine by it.

Nothing here imports the engine's modules: what must go and what must stay is decided from PS3.15
and from what the files are for, not from what the engine does.
"""
