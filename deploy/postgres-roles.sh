#!/bin/sh
# A role that owns the database and its tables, and one that workers have. The postgres image runs this once, while its data
# are made; for a database that is there already, run it by hand, in the postgres container or wherever psql reaches it.
set -eu
psql --set=ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=database="$POSTGRES_DB" --set=admin="$POSTGRES_USER" \
    --set=migrations="$POSTGRES_MIGRATIONS_PASSWORD" --set=worker="$POSTGRES_WORKER_PASSWORD" <<'SQL'
CREATE ROLE kiqstart_migrations LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'migrations';
CREATE ROLE kiqstart_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'worker';
-- So that a clean-up sees how far replicas lag behind, and what others' connections do.
GRANT pg_monitor TO kiqstart_worker;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO kiqstart_worker;
ALTER DATABASE :"database" OWNER TO kiqstart_migrations;
ALTER SCHEMA public OWNER TO kiqstart_migrations;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- Tables that an administrator has made before; `kiqstart migrate --worker-role kiqstart_worker` grants the rest.
SELECT format('ALTER TABLE public.%I OWNER TO kiqstart_migrations', tablename)
FROM pg_tables WHERE schemaname = 'public' \gexec
SQL
