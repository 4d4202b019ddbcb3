"""The ZkVM: programs that say who may spend what, over amounts that nobody else sees.

    instructions   the table of opcodes; bytes to instructions and back
    assembly       the same as text
    values         what lies on the stack
    inputs         what a program sees of its transaction
    machine        runs a program: the prover with openings, everybody else without
    scripts        several programs under one script address
"""
