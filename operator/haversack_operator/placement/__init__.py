"""Where each peer runs, and with which micro-batch: a multi-knapsack with a proven gap. Pure.

``demand_of`` reads what a job asks for, ``assign`` answers with a ``Plan`` or with
``Infeasible``, a value that says in words why.
"""
