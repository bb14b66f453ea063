"""A payment provider for virtual money: it has every instruction, and has carried it out when it is asked."""
