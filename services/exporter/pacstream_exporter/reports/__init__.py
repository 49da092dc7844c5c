"""Structured reports (PS3.3 section A.35) as text and JSON: all that they say, so it identifies.

wording    text of values: HTML taken out, wrongly decoded UTF-8 put right
tree       the content tree
rendering  a document as lines of text
extract    the whole
"""
