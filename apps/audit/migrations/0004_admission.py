"""Letting in what has limits, and no more of it than they allow, while its record is written."""

from django.db import migrations

SQL = """
-- Gives how the hook is answered, and opens its lease; no row where what was decided on is no longer true.
--
-- Whoever counts under the same key waits here for whoever came before, until that is committed. Each query below then
-- sees it, as the function is volatile. Locks are taken in one order, so that nobody waits in a circle; the hook path's
-- time limit for locks is lifted, since these are held for one statement at a time, and its time limit for the whole
-- statement stays.
CREATE FUNCTION audit_admit(
    decided_at_revision bigint, in_session bigint, in_opening bigint,
    good_effect text, good_reason text, good_rule_ids bigint[], counts jsonb, token_to_use bigint, lease live_lease
) RETURNS TABLE (effect text, reason text, rule_ids bigint[])
LANGUAGE plpgsql VOLATILE ROWS 1 SET lock_timeout = 0 AS $$
DECLARE
    asked_at timestamptz := counts ->> 'now';
    limited record;
    used record;
    room boolean;
    lets_in bigint[];
    oldest_key text;
    oldest_rule bigint;
    too_many bigint;
    known bigint[];
    runs_already boolean := false;
BEGIN
    FOR limited IN
        SELECT DISTINCT hashtextextended(key, 0) AS lock FROM (
            SELECT key FROM jsonb_to_recordset((counts -> 'all_of') || (counts -> 'any_of')) AS x(key text)
            UNION ALL SELECT concat_ws(' ', lease.node_id, lease.session_id, lease.key)
        ) AS keys WHERE lease.opened_at IS NOT NULL ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(limited.lock);
    END LOOP;

    IF NOT EXISTS (SELECT FROM access_revision r WHERE r.revision = decided_at_revision)
        OR in_session IS NOT NULL AND NOT EXISTS (
            SELECT FROM connections_session s
            WHERE s.id = in_session AND s.opening = in_opening AND s.ended_at IS NULL)
    THEN
        RETURN;
    END IF;

    -- The same hook again: WCS repeats what failed while being sent, players ask again and again. What was ordered to
    -- end does not count, so what goes on as the same is something new.
    SELECT l.rule_ids INTO known FROM live_lease l
        WHERE l.session_id = lease.session_id AND l.key = lease.key AND l.node_id = lease.node_id
            AND l.action = lease.action AND l.thing = lease.thing AND l.who = lease.who
            AND l.ended_at IS NULL AND (l.runs_out_at IS NULL OR l.runs_out_at > asked_at)
            AND (l.rule_ids && good_rule_ids OR good_rule_ids = l.rule_ids)
            AND NOT EXISTS (SELECT FROM live_cut c WHERE c.lease_id = l.id)
        ORDER BY l.id DESC LIMIT 1;
    runs_already := FOUND;

    IF runs_already THEN
        lets_in := ARRAY(SELECT id FROM unnest(known) AS id WHERE id = ANY (good_rule_ids) ORDER BY id);
        -- Of what nobody hears when it ends, this is also the only moment at which its time may be up.
        FOR limited IN
            SELECT * FROM jsonb_to_recordset(counts -> 'any_of') AS x(
                key text, rule_id bigint, minutes_per_day bigint, minutes_per_month bigint)
            WHERE lease.runs_out_at IS NOT NULL AND rule_id = ANY (lets_in)
                AND (minutes_per_day IS NOT NULL OR minutes_per_month IS NOT NULL)
        LOOP
            SELECT u.* INTO used FROM live_used(
                limited.key, asked_at, (counts ->> 'day')::timestamptz, (counts ->> 'month')::timestamptz) u;
            IF used.minutes_per_day >= limited.minutes_per_day OR used.minutes_per_month >= limited.minutes_per_month THEN
                lets_in := array_remove(lets_in, limited.rule_id);
            END IF;
        END LOOP;
        IF lets_in = ARRAY[]::bigint[] AND counts -> 'any_of' <> '[]' THEN
            RETURN QUERY SELECT 'deny', 'limit-reached', good_rule_ids;
            RETURN;
        END IF;
    ELSE
        FOR limited IN SELECT * FROM jsonb_to_recordset(counts -> 'all_of') AS x(key text, at_once bigint) LOOP
            SELECT u.* INTO used FROM live_used(limited.key, asked_at, NULL, NULL) u;
            IF used.at_once >= limited.at_once THEN
                RETURN QUERY SELECT 'deny', 'limit-reached', ARRAY[]::bigint[];
                RETURN;
            END IF;
        END LOOP;

        IF counts -> 'any_of' = '[]' THEN
            lets_in := good_rule_ids;
        END IF;
        FOR limited IN
            SELECT * FROM jsonb_to_recordset(counts -> 'any_of') AS x(
                key text, rule_id bigint, at_once bigint, per_day bigint, per_month bigint,
                minutes_per_day bigint, minutes_per_month bigint, overflow text)
            ORDER BY rule_id
        LOOP
            SELECT u.* INTO used FROM live_used(
                limited.key, asked_at, (counts ->> 'day')::timestamptz,
                CASE WHEN limited.per_day IS NOT NULL OR limited.per_month IS NOT NULL
                    OR limited.minutes_per_day IS NOT NULL OR limited.minutes_per_month IS NOT NULL
                THEN (counts ->> 'month')::timestamptz END) u;
            room := (limited.per_day IS NULL OR used.per_day < limited.per_day)
                AND (limited.per_month IS NULL OR used.per_month < limited.per_month)
                AND (limited.minutes_per_day IS NULL OR used.minutes_per_day < limited.minutes_per_day)
                AND (limited.minutes_per_month IS NULL OR used.minutes_per_month < limited.minutes_per_month);
            IF room AND (limited.at_once IS NULL OR used.at_once < limited.at_once) THEN
                lets_in := ARRAY[limited.rule_id];
                EXIT;
            END IF;
            IF room AND limited.overflow = 'end-oldest' AND oldest_key IS NULL THEN
                oldest_key := limited.key;
                oldest_rule := limited.rule_id;
                too_many := used.at_once - limited.at_once + 1;
            END IF;
        END LOOP;
    END IF;

    IF lets_in IS NULL AND oldest_key IS NULL THEN
        RETURN QUERY SELECT 'deny', 'limit-reached', good_rule_ids;
        RETURN;
    END IF;

    -- A token for single use is used by what was let in, and by nothing else.
    IF token_to_use IS NOT NULL THEN
        UPDATE accounts_token t
            SET used_at = coalesce(t.used_at, asked_at), used_node_id = lease.node_id, used_session_id = lease.session_id
            WHERE t.id = token_to_use
                AND (t.used_at IS NULL OR t.used_node_id = lease.node_id AND t.used_session_id = lease.session_id);
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;

    IF runs_already THEN
        UPDATE live_lease l SET runs_out_at = lease.runs_out_at
            WHERE l.session_id = lease.session_id AND l.key = lease.key AND l.node_id = lease.node_id
                AND l.action = lease.action AND l.thing = lease.thing AND l.who = lease.who
                AND l.ended_at IS NULL AND l.runs_out_at > asked_at
                AND NOT EXISTS (SELECT FROM live_cut c WHERE c.lease_id = l.id);
        RETURN QUERY SELECT good_effect, good_reason, lets_in;
        RETURN;
    END IF;
    IF lets_in IS NULL THEN
        PERFORM live_cut_oldest(oldest_key, too_many, asked_at, 'rule ' || oldest_rule);
        lets_in := ARRAY[oldest_rule];
    END IF;
    INSERT INTO live_lease (record_id, node_id, app_key, session_id, key, action, target, thing, who, username, user_id,
        client_address, rule_ids, opened_at, started_at, ended_at, runs_out_at, end_reason)
    SELECT lease.record_id, lease.node_id, lease.app_key, lease.session_id, lease.key, lease.action, lease.target,
        lease.thing, lease.who, lease.username, lease.user_id, lease.client_address, lets_in, lease.opened_at,
        lease.started_at, lease.ended_at, lease.runs_out_at, ''
    WHERE lease.opened_at IS NOT NULL
    ON CONFLICT (record_id) DO NOTHING;
    RETURN QUERY SELECT good_effect, good_reason, lets_in;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_what_wcs_was_told"),
        ("access", "0009_triggers_for_cuts"),
        ("connections", "0005_rest_api_of_nodes"),
        ("live", "0002_counting"),
    ]
    operations = [migrations.RunSQL(SQL, "DROP FUNCTION audit_admit;")]
