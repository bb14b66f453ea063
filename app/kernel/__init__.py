"""The vocabulary every other module shares: money, prices, orders, ids, errors. Pure; imports nothing of ours."""
