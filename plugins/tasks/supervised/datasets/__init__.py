"""Data sets of the task ``supervised``: pictures, with as many training labels wrong as a suite asks for."""
