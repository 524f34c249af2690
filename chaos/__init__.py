"""The fault run: everything is killed, stopped and filled up while hooks come in, and then counted. `make chaos`."""
