"""The paper venue: a book of resting orders that fills from the feed's prices."""
