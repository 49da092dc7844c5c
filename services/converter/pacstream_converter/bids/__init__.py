"""From converted series to a data set in the Brain Imaging Data Structure (BIDS).

`tree.build_tree` is the whole use case. What goes where is data: `defaults.toml`, before it the
user's own rules.
"""
