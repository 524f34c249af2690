"""What happened: the record of every hook.

Each room says in its `__init__.py` what it is for. Beside them lies what several need: the models, what staff see first
(`admin`, `dashboard`), what workers do and when (`tasks`), the chain and the ids of records, and how an event is told
as a sentence (`narrative`).
"""
