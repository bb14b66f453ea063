-- What holds of every order: the table's one CHECK. One function and not a CHECK for each: PostgreSQL reads, plans and
-- compiles every CHECK anew with every statement (decision 0018). A condition that is null holds, as in a CHECK.
CREATE OR REPLACE FUNCTION orders_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN o.status IN ('denied', 'waiting', 'accepted', 'submitting', 'unknown', 'open', 'partially_filled', 'filled',
                        'cancelled', 'rejected', 'expired', 'lost')
        AND o.side IN ('buy', 'sell')
        AND o.order_type ~ '^[a-z_]{1,32}$'
        AND o.product IN ('delivery', 'intraday')
        AND o.validity IN ('day', 'gtc', 'ioc', 'ttl', 'gtt')
        AND o.quantity > 0 AND o.filled_quantity BETWEEN 0 AND o.quantity
        AND (o.status <> 'filled' OR o.filled_quantity = o.quantity)
        AND (o.limit_price > 0) IS NOT FALSE
        AND (o.trigger_price > 0) IS NOT FALSE
        AND (o.market_protection_bps BETWEEN 1 AND 10000) IS NOT FALSE
        AND (o.disclosed_quantity > 0 AND o.disclosed_quantity < o.quantity) IS NOT FALSE
        AND (o.validity = 'ttl') = (o.expires_at IS NOT NULL)
        AND (o.validity = 'ttl') = (o.validity_minutes IS NOT NULL)
        AND o.order_class IN ('single', 'sliced', 'iceberg', 'bracket', 'oto', 'oco', 'cover')
        AND (o.leg IN ('whole', 'slice', 'entry', 'target', 'stop')) IS NOT FALSE
        AND (o.order_class = 'single') = (o.leg IS NULL)
        AND (o.parent_id IS NULL OR o.leg IN ('slice', 'entry', 'target', 'stop'))
        AND (o.pair_id IS NULL) = (o.pair_quantity IS NULL);
END $$;
