"""The groups of a model's layers on the processes of a pod (D2FT, arXiv 2504.12471: a device for each subnet).

Each process keeps the weights of its own groups. The first one has the rest of the model and runs the model's own code;
wherever that comes to a part of a layer whose groups are elsewhere, it sends them the hidden state and adds what comes
back, in the order of the processes. What is trained, and the optimizer's state, is the first one's: before a pass the
others get their values of it, after a step they give their gradients.
"""
