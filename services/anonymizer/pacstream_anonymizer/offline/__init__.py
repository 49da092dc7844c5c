"""De-identification of a folder, without broker, ledger and orders: `pacstream anonymize`.

inventory   what lies in the folder
reasons     why a file is not released
layout      where an instance goes
new_ids     pseudonyms that the user gives
people      who the patients are called
book        what has been planned and done, in the trusted zone
plan        what is to be done
work        the instances of one series
crew        several processes
job         the whole
records     what only the trusted zone may know, as files
"""
