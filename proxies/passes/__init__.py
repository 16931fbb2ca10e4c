"""The passes over a module and a batch from which probes are filled.

A pass is a function of a :class:`~proxies.subject.Subject`. It lends the model, runs it, and
returns plain tensors or numbers; nothing that it does outlives it.
"""
