"""Linux and its files, with no word of eggs: accounts, verified directories and locks, staging, exchanging names."""
