"""Interchange media (PS3.10, PS3.11): a file-set with a DICOMDIR from the instances of a folder.

names       File IDs
records     directory records, and what is filled in where an instance lacks it
directory   the DICOMDIR as bytes
file_set    the whole
"""
