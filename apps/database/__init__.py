"""Postgres as the hook path uses it: connections of our own, prepared statements, a time limit on everything."""
