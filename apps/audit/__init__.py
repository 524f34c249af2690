"""What happened: the record of every hook."""
