"""The benchmark: each claim of this project beside what a user would pick instead, in one run on one machine."""
