"""Whole days in bad plan: real processes, stores, connections; everything else goes wrong.

`plan` decides what strikes, by a seed; `servers` stand in front of the servers and let it happen
to what the functions ask; `exchange` is the simulated one with a will of its own; `workers` are
the functions' processes, which a server kills; `day` plays AWS over all of it; `audit` looks at the
exchange's and the table's records at the end; `season` runs many days.
"""
