"""A pod with several processes: how it is started, and how the first of them leads the others.

The first process is the run's peer: loop, log, store and reports are its own. The others do what it says, so that
every collective is called by all of them in the same order.
"""
