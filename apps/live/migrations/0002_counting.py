"""By which keys limits find a lease, how much of a key is used up, and who goes to make room. Counted from the leases."""

from django.db import migrations

SQL = """
-- A lease counts for each rule that let it in: for all together, for the person, and for the thing. Sessions count
-- apart from what runs in them. Streams have limits of their own, hence the last key.
CREATE FUNCTION live_keys(rule_ids bigint[], who text, action text, thing text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_append(coalesce(array_agg(key), ARRAY[]::text[]), action || ' ' || thing) FROM (
        SELECT unnest(ARRAY[rule, rule || ' ' || who, rule || ' target ' || thing]) AS key
        FROM (SELECT id || CASE WHEN action = 'connect' THEN ' connect' ELSE '' END AS rule FROM unnest(rule_ids) AS id) r
    ) AS keys
$$;

ALTER TABLE live_lease ADD COLUMN counted text[] GENERATED ALWAYS AS (live_keys(rule_ids, who, action, thing)) STORED;
CREATE INDEX lease_counted ON live_lease USING gin (counted) WITH (fastupdate = off);
CREATE INDEX lease_counted_running ON live_lease USING gin (counted) WITH (fastupdate = off) WHERE ended_at IS NULL;

-- What is ordered to end no longer counts as running. What failed before it started has not begun. Without a beginning
-- of the day and month only what runs is counted.
CREATE FUNCTION live_used(
    counted_key text, asked_at timestamptz, day timestamptz, month timestamptz
) RETURNS TABLE (
    at_once bigint, per_day bigint, per_month bigint, minutes_per_day numeric, minutes_per_month numeric
) LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT
        (SELECT count(*) FROM live_lease l WHERE l.counted @> ARRAY[counted_key] AND l.ended_at IS NULL
            AND (l.runs_out_at IS NULL OR l.runs_out_at > asked_at)
            AND NOT EXISTS (SELECT FROM live_cut c WHERE c.lease_id = l.id)),
        count(*) FILTER (WHERE began AND opened_at >= day),
        count(*) FILTER (WHERE began AND opened_at >= month),
        coalesce(sum(extract(epoch FROM until - greatest(started_at, day)))
            FILTER (WHERE started_at IS NOT NULL AND until > day), 0) / 60,
        coalesce(sum(extract(epoch FROM until - greatest(started_at, month)))
            FILTER (WHERE started_at IS NOT NULL AND until > month), 0) / 60
    FROM (
        SELECT l.opened_at, l.started_at, l.started_at IS NOT NULL OR l.ended_at IS NULL AS began,
            greatest(l.started_at, coalesce(l.ended_at, least(l.runs_out_at, asked_at))) AS until
        FROM live_lease l
        WHERE month IS NOT NULL AND l.counted @> ARRAY[counted_key] AND (l.ended_at IS NULL OR l.ended_at >= month)
    ) AS lately
$$;

-- Order the oldest of those that run under a key to end. A session is cut as a whole, in the opening it is in now.
CREATE FUNCTION live_cut_oldest(counted_key text, how_many bigint, asked_at timestamptz, by_whom text)
RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO live_cut (lease_id, node_id, session_id, key, opening, ordered_at, ordered_by, try_at)
    SELECT l.id, l.node_id, l.session_id, CASE WHEN l.action = 'connect' THEN '' ELSE l.key END, s.opening, asked_at,
        by_whom, asked_at
    FROM live_lease l LEFT JOIN connections_session s
        ON l.action = 'connect' AND s.node_id = l.node_id AND s.session_id = l.session_id
    WHERE l.counted @> ARRAY[counted_key] AND l.ended_at IS NULL
        AND (l.runs_out_at IS NULL OR l.runs_out_at > asked_at)
        AND NOT EXISTS (SELECT FROM live_cut c WHERE c.lease_id = l.id)
    ORDER BY l.opened_at, l.id LIMIT how_many
$$;
"""

UNDO = """
DROP FUNCTION live_cut_oldest;
DROP FUNCTION live_used;
ALTER TABLE live_lease DROP COLUMN counted;
DROP FUNCTION live_keys;
"""


class Migration(migrations.Migration):
    dependencies = [("live", "0001_initial"), ("connections", "0001_initial")]
    operations = [migrations.RunSQL(SQL, UNDO)]
