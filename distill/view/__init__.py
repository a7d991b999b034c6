"""`distill view`: the rows of a run in a browser, finished or still sampling, to be read, compared and labelled.

A list of all rows, without their texts, is held in memory; texts are read for the rows that are looked at. Everything
is made on the server: the page's one script presses its links when a key is pressed.
"""
