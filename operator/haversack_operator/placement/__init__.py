"""The multi-knapsack: which peer goes where, and with which micro-batch. Pure."""
