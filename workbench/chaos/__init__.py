"""Whole days with real faults: real processes, stores and connections, which fail and are killed.

`fault_plan` decides by a seed and a list which fault strikes where. `fault_proxy` stands in front
of each server and makes requests fail. `exchange` is the simulated exchange, made unreliable.
`processes` runs each function in a process that may be killed. `platform` does what AWS does.
`day` composes one day of all of them. At its end `audit` compares the records of the exchange with
those of the table. `campaign` plays many days.
"""
