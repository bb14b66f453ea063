"""Order types: one file each, found by itself. Each defines `PLUGIN`, an `OrderKind` of `orders/domain`."""
