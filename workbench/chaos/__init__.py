"""Whole days in bad weather: real processes, stores, connections; everything else goes wrong.

`weather` decides what strikes, by a seed; `doors` stand in front of the servers and let it happen
to what the functions ask; `exchange` is the simulated one with a will of its own; `workers` are
the functions' processes, which a door kills; `day` plays AWS over all of it; `truth` looks at the
exchange's and the table's records at the end; `season` runs many days.
"""
