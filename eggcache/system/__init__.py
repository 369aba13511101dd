"""Linux and its files, without a word of eggs: accounts, safe directories, locks, stages, processes."""
