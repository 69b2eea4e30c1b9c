ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tenant
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE site ENABLE ROW LEVEL SECURITY;
ALTER TABLE site FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON site
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE certificate ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificate FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON certificate
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE tenant_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_key FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tenant_key
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE station ENABLE ROW LEVEL SECURITY;
ALTER TABLE station FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON station
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE station_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE station_key FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON station_key
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE station_closing ENABLE ROW LEVEL SECURITY;
ALTER TABLE station_closing FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON station_closing
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE heartbeat ENABLE ROW LEVEL SECURITY;
ALTER TABLE heartbeat FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON heartbeat
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE head_contradiction ENABLE ROW LEVEL SECURITY;
ALTER TABLE head_contradiction FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON head_contradiction
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE enrolment_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrolment_token FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON enrolment_token
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE entry FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON entry
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE waiting ENABLE ROW LEVEL SECURITY;
ALTER TABLE waiting FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON waiting
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE leaf ENABLE ROW LEVEL SECURITY;
ALTER TABLE leaf FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON leaf
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE tree ENABLE ROW LEVEL SECURITY;
ALTER TABLE tree FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tree
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE node ENABLE ROW LEVEL SECURITY;
ALTER TABLE node FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON node
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE recovered ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovered FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON recovered
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE verdict ENABLE ROW LEVEL SECURITY;
ALTER TABLE verdict FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON verdict
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE evidence ENABLE ROW LEVEL SECURITY;
ALTER TABLE evidence FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON evidence
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE receipt ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipt FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON receipt
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE feed_page ENABLE ROW LEVEL SECURITY;
ALTER TABLE feed_page FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON feed_page
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE lot ENABLE ROW LEVEL SECURITY;
ALTER TABLE lot FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON lot
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE scan ENABLE ROW LEVEL SECURITY;
ALTER TABLE scan FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON scan
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON audit
    USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid);

ALTER TABLE migration ENABLE ROW LEVEL SECURITY;
ALTER TABLE migration FORCE ROW LEVEL SECURITY;
CREATE POLICY schema_record ON migration USING (true) WITH CHECK (true);

ALTER TABLE master_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE master_key FORCE ROW LEVEL SECURITY;
CREATE POLICY which_key ON master_key USING (true) WITH CHECK (true);

-- Default privileges that somebody set before have given some already.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, lotgate_app;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, lotgate_app;
GRANT USAGE ON SCHEMA public TO lotgate_app;
GRANT SELECT ON migration TO lotgate_app;
GRANT SELECT, INSERT ON master_key TO lotgate_app;
GRANT SELECT, INSERT ON tenant, site, tenant_key, station, scan, certificate, entry, leaf, tree, node, recovered, verdict, evidence, receipt, feed_page, audit TO lotgate_app;
GRANT SELECT, INSERT ON station_key, station_closing, head_contradiction TO lotgate_app;
GRANT SELECT, INSERT, UPDATE (received_at, epoch_n, epoch_id, seq, hash, furthest_epoch_n, furthest_epoch_id, furthest_seq,
    furthest_hash, depth, oldest, version, wall, clock_offset_ms, key_protection, devices, disk_free, alarms,
    log_generation, log_size) ON heartbeat TO lotgate_app;
GRANT SELECT, INSERT, DELETE ON lot, waiting TO lotgate_app;
GRANT SELECT, INSERT, UPDATE (used_at, used_key, used_hpke_key, station_id) ON enrolment_token TO lotgate_app;
