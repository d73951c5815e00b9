"""Files too large for one invocation: planned, scored split by split on any machines, and put together.

start.py takes a job: its file is scored here, or planned (planning.py; csv_scan.py looks at all of a CSV file, and
another process can go on with that), and a message sent for each split. plan.py is what all scorers agree on.
worker.py scores a split, stages its blocks where layout.py says, and leaves a marker (markers.py). finish.py is for
whoever finds all markers: it commits the result (table_folder.py: one of several files) and ends the run.
"""
