"""Files too large for one invocation: planned, scored split by split on any machines, and put together.

start.py       a job's file is planned, and a message sent for each of its splits
csv_scan.py    where a CSV file may be cut: a look at all its bytes that another process can go on with
plan.py        runs/<run id>/plan.json: the splits, and what all who score them have to agree on
worker.py      a message's split is scored, its blocks staged, and a marker left
markers.py     runs/<run id>/parts/…: which splits are done, and what their blocks are called
finish.py      whoever finds all markers commits the result and ends the run
table_folder.py  a Parquet result of several files
"""
