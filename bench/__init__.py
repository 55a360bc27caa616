"""Benchmarks: ``make bench`` measures this machine's databases and Readside in one run, and prints ratios first.

Timings differ from machine to machine and from minute to minute; a ratio of two things measured in turns in one run
says something, a figure alone does not.
"""
